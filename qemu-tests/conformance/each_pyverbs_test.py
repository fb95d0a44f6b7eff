# SPDX-License-Identifier: GPL-2.0
"""Runs rdma-core's pyverbs tests on a device, each in a process of its own, and writes a line of JSON for each.

One process for all of them would end with the first that crashes, and the objects that a failed test leaves behind
would get into the way of the next. The modules are imported once, which takes longer than most tests.
"""

import argparse
import importlib
import io
import json
import os
import select
import signal
import sys
import time
import traceback
import unittest

# Tests of what only these vendors' devices have.
OTHER_DEVICES = ('test_mlx5', 'test_efa')

# How long a killed process may take to be gone, in seconds. One that waits in the kernel stays.
REAPING = 10


class Verdicts(unittest.TestResult):
    """How the only test of a process ended."""

    def __init__(self):
        super().__init__()
        self.verdict = 'pass'
        self.words = ''
        self.details = ''

    def _set(self, verdict, error):
        kind, value, _ = error
        self.verdict = verdict
        self.words = ' '.join(f'{kind.__name__}: {value}'.split())
        self.details = ''.join(traceback.format_exception(*error))

    def addFailure(self, test, err):
        self._set('fail', err)

    def addError(self, test, err):
        self._set('error', err)

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self._set('fail' if issubclass(err[0], test.failureException) else 'error', err)

    def addSkip(self, test, reason):
        self.verdict = 'skip'
        self.words = ' '.join(str(reason).split())


def in_child(test, report):
    """Runs `test`, and writes how it ended to the file descriptor `report`."""
    result = Verdicts()
    test(result)
    report = io.open(report, 'w')
    json.dump({'verdict': result.verdict, 'words': result.words, 'details': result.details}, report)
    report.write('\n')
    report.flush()
    # Not by way of the interpreter's end: what the test has left is the kernel's to clean up.
    os._exit(0)


def reap(child):
    """Waits for `child`, which is ending or has been killed. Gives its status, or None if it stays."""
    deadline = time.monotonic() + REAPING
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status
        time.sleep(0.01)
    return None


def run(test, limit, output):
    """Runs `test` in a process of its own for up to `limit` seconds. What it writes goes to the file `output`."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        # What it starts is killed with it.
        os.setsid()
        os.close(reader)
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        try:
            in_child(test, writer)
        finally:
            os._exit(1)
    os.close(writer)
    deadline = time.monotonic() + limit
    text = b''
    # Not until the pipe is closed: what the test has started may hold it open.
    while not text.endswith(b'\n'):
        ready, _, _ = select.select([reader], [], [], max(0, deadline - time.monotonic()))
        part = os.read(reader, 1 << 16) if ready else None
        if not part:
            break
        text += part
    os.close(reader)
    try:
        # Whatever of it is left, after its report as well.
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:
        pass
    status = reap(child)
    if status is None:
        return {'verdict': 'hang', 'words': 'cannot be killed', 'details': ''}
    if text.endswith(b'\n'):
        return json.loads(text)
    if part is None:
        return {'verdict': 'hang', 'words': f'not done after {limit} s', 'details': ''}
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        return {'verdict': 'crash', 'words': name, 'details': ''}
    return {'verdict': 'crash', 'words': f'exit status {os.WEXITSTATUS(status)}, no report', 'details': ''}


def cases(suite):
    """The tests in `suite`."""
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from cases(item)
        else:
            yield item


def load(directory):
    """Imports the tests in `directory`. Their package would import all of them, so it is one without its __init__.py."""
    sys.path.insert(0, directory)
    package = type(sys)('tests')
    package.__path__ = [directory]
    sys.modules['tests'] = package
    for name in sorted(os.listdir(directory)):
        module, extension = os.path.splitext(name)
        if extension == '.py' and module.startswith('test_') and not module.startswith(OTHER_DEVICES):
            module = importlib.import_module(f'tests.{module}')
            yield from cases(unittest.defaultTestLoader.loadTestsFromModule(module))


def main():
    options = argparse.ArgumentParser()
    options.add_argument('directory', help='where the tests are')
    options.add_argument('--device', required=True)
    options.add_argument('--gid', required=True, help='index of the GID')
    options.add_argument('--limit', type=int, required=True, help='seconds that a test may take')
    options.add_argument('--only', default='', help='tests whose names contain this')
    options = options.parse_args()

    sys.path.insert(0, options.directory)
    from args_parser import parser
    sys.argv[1:] = ['--dev', options.device, '--port', '1', '--gid', options.gid]
    parser.parse_args()

    for test in load(options.directory):
        name = test.id().removeprefix('tests.')
        if options.only not in name:
            continue
        with open('/dev/kmsg', 'w') as log:
            log.write(f'pyverbs on {options.device}: {name}\n')
        began = time.monotonic()
        with open('/tmp/pyverbs-output', 'w+') as output:
            ended = run(test, options.limit, output)
            output.seek(0)
            ended['details'] += output.read()
        ended |= {'name': name, 'seconds': round(time.monotonic() - began, 2)}
        print(json.dumps(ended), flush=True)


main()
