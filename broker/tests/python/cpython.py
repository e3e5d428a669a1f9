"""CPython's own tests of managers, against a broker that is running.

Whatever a test starts as a manager connects to the broker instead. The tests are those of the
interpreter that runs this: test._test_multiprocessing.
"""
import multiprocessing
import os
import sys
import unittest
from multiprocessing import managers, process

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from connected import address

KEY = os.environ['GANGER_AUTHKEY'].encode()

# They have the server call a function of theirs, which a broker does not; and of what only some
# transports or systems do, a manager's tests say so themselves.
NOT_SERVED = {'test_pool', 'test_action', 'test_manager_initializer'}
CLASSES = ('Queue', 'Lock', 'Semaphore', 'Condition', 'Event', 'Barrier', 'Containers', 'MyManager',
           'RemoteManager', 'ManagerRestart')


class NoProcess:
    """What a manager takes for the process of its server."""
    exitcode, pid, name = 0, None, 'broker'

    def is_alive(self):
        return False

    def join(self, timeout=None):
        pass

    def terminate(self):
        pass


def start(self, initializer=None, initargs=()):
    self._address = address('GANGER_XMLRPC' if self._serializer == 'xmlrpclib' else 'GANGER_PYTHON')
    self._authkey = process.AuthenticationString(KEY)
    self.connect()
    self._process = NoProcess()
    self.shutdown = lambda: None


def init(self, *args, **kwargs):
    # Some tests make a key up for the server that they start.
    made(self, *args, **kwargs)
    self._authkey = process.AuthenticationString(KEY)


made = managers.BaseManager.__init__
managers.BaseManager.__init__ = init
managers.BaseManager.start = start
process.current_process().authkey = KEY
multiprocessing.Manager = lambda: _started(managers.SyncManager())


def _started(manager):
    manager.start()
    return manager


multiprocessing.context.BaseContext.Manager = lambda self: _started(managers.SyncManager())

import test._test_multiprocessing as tests

tests.PRELOAD = ['__main__']
found = {'__name__': __name__}
tests.install_tests_in_module_dict(found, os.environ.get('START_METHOD', 'fork'))
wanted = ['WithManagerTest' + name for name in CLASSES] + ['TestSyncManagerTypes']
globals().update((name, found[name]) for name in wanted)
setUpModule, tearDownModule = found['setUpModule'], found['tearDownModule']


def load_tests(loader, standard, pattern):
    suite = unittest.TestSuite()
    for name in wanted:
        cases = loader.loadTestsFromTestCase(globals()[name])
        suite.addTests(case for case in cases if case._testMethodName not in NOT_SERVED)
    return suite


if __name__ == '__main__':
    unittest.main(verbosity=2)
