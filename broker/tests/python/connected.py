"""What the scripts of these tests have in common: a manager that is connected to the broker."""
import multiprocessing
import os
from multiprocessing.managers import SyncManager


class Manager(SyncManager):
    pass


def address(variable='GANGER_PYTHON'):
    text = os.environ[variable]
    if text.startswith('/'):
        return text
    host, port = text.rsplit(':', 1)
    return host, int(port)


def manager(*names, authkey=None):
    for name in names:
        Manager.register(name)
    key = (authkey or os.environ['GANGER_AUTHKEY']).encode()
    made = Manager(address=address(), authkey=key)
    made.connect()
    return made
