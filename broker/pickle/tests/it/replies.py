"""A client of a manager: sends a request with a proxy in it, and checks one answer of each kind.

Messages have their length before them, as four bytes, the highest first.
"""
import array
import io
import pickle
import queue
import struct
import sys
from multiprocessing import managers

TOKEN = ('list', ('localhost', 5000), '7f1')


class Stored:
    """Pickled as a proxy is, without a manager to connect to."""
    def __reduce__(self):
        return managers.RebuildProxy, (managers.AutoProxy, managers.Token(*TOKEN), 'pickle', {'exposed': ('append', 'pop')})


class InPython(pickle._Unpickler):
    def find_class(self, module, name):
        return (lambda *args: args) if name == 'RebuildProxy' else super().find_class(module, name)


class InC(pickle.Unpickler):
    def find_class(self, module, name):
        return (lambda *args: args) if name == 'RebuildProxy' else super().find_class(module, name)


def is_token(token):
    return type(token) is managers.Token and (token.typeid, token.address, token.id) == TOKEN


def is_proxy(proxy, **more):
    func, token, serializer, keywords = proxy
    return (func, serializer, keywords) == (managers.AutoProxy, 'pickle', dict({'exposed': ('append', 'pop')}, **more)) \
        and is_token(token)


def is_error(error, kind, *args):
    return type(error) is kind and error.args == args


CHECKS = [
    ('#RETURN', lambda value: len(value) == 2 and is_proxy(value[0], authkey=b'key') and value[1] == 1),
    ('#RETURN', lambda value: len(value) == 2 and is_proxy(value[0]) and value[0] is value[1]),
    ('#ERROR', lambda error: is_error(error, IndexError, 'pop from empty list')),
    ('#ERROR', lambda error: is_error(error, queue.Empty)),
    ('#ERROR', lambda error: is_error(error, KeyError, ('a', 1))),
    ('#PROXY', lambda value: value[0] == ('append', 'pop') and is_token(value[1])),
    ('#TRACEBACK', lambda text: text == 'Traceback: nö'),
    ('#UNSERIALIZABLE', lambda text: text == 'it'),
    ('#RETURN', lambda value: value == ('7f1', ('append', 'pop'))),
    ('#RETURN', lambda value: type(value) is type(iter([])) and list(value) == [1, 'a', None]),
    ('#RETURN', lambda value: value == [1, 'a', None]),
    ('#RETURN', lambda value: value == array.array('i', [1, -2])),
]


def main():
    out = sys.stdout.buffer
    for protocol in range(3, pickle.HIGHEST_PROTOCOL + 1):
        proxy = Stored()
        message = pickle.dumps((None, 'append', ([proxy, 1], (proxy, proxy)), {}), protocol)
        out.write(struct.pack('>I', len(message)) + message)
        out.flush()
        for index, (kind, check) in enumerate(CHECKS):
            size, = struct.unpack('>I', sys.stdin.buffer.read(4))
            message = sys.stdin.buffer.read(size)
            for unpickler in (InC, InPython):
                found, value = unpickler(io.BytesIO(message)).load()
                if found != kind or not check(value):
                    sys.exit('answer %d is %s %r for %s' % (index, found, value, unpickler.__name__))
    out.write(struct.pack('>I', 0))


if __name__ == '__main__':
    main()
