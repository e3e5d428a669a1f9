"""Random values of Python: sends them as requests of a manager's client, and compares what comes back.

    values.py SEED COUNT

Both ways each message has its length before it, as four bytes, the highest first.
To the reader: for each value its requests, one for each protocol, and how many there were.
From it: for each value a reply with it, and how it is shown; after all of a batch a reply with all of them.
"""
import collections
import copyreg
import datetime
import decimal
import enum
import fractions
import pickle
import random
import struct
import sys

BATCH = 40
STRINGS = ['append', '#RETURN', '7f00ff01', '__getitem__', 'key', 'pickle', 'builtins', '', 'a', 'abc', 'abcd',
           "it's", '"', '\'"', '\\', 'tab\tnewline\nreturn\r', '\0\x1f\x7f', 'é', '\xa0\xad', 'Ω', '中文', '\u200b',
           '\u2028', '\ud800', 'x\udfffy', '\ud83d\ude00', '\U0001f600', '\ue000', '\U0010ffff', '\U000e0001',
           'long ' * 20, 'ä' * 300, 'x' * 70000]
FLOATS = [0.0, -0.0, 1.5, 1e16, 1e15, 123456789012345680.0, 1e-4, 1e-5, 1e22, 1e23, 5e-324, 1.7976931348623157e308,
          float('inf'), float('-inf'), float('nan'), 0.1, -2.5e-10, 9007199254740993.0, 4.0]
PLAIN = (type(None), bool, int, float, str, bytes, bytearray, complex, range, slice, list, tuple, dict, set, frozenset)


class Point:
    def __init__(self, tag):
        self.tag = tag


class Slots:
    __slots__ = ('tag', 'other')

    def __init__(self, tag):
        self.tag = tag


class State:
    """Says its state by itself, which is no dict."""
    def __init__(self, tag):
        self.tag, self.inside = tag, []

    def __getstate__(self):
        return (self.tag, self.inside)

    def __setstate__(self, state):
        self.tag, self.inside = state


class NewArgs(Point):
    def __new__(cls, tag, *, extra=None):
        made = object.__new__(cls)
        made.tag, made.extra = tag, extra
        return made

    def __init__(self, *args, **kw):
        pass

    def __getnewargs_ex__(self):
        return (self.tag,), {'extra': self.extra}


class Wrap:
    """Made by a call, whose argument may have it inside."""
    def __init__(self, items):
        self.items = items

    def __reduce__(self):
        return Wrap, (self.items,)


def applied(made, state):
    made.tag, made.state = state


class Applied(Point):
    """Has its state set by a function: the sixth item of what __reduce__ returns."""
    def __reduce__(self):
        return copyreg.__newobj__, (Applied,), (self.tag, getattr(self, 'state', None)), None, None, applied


class ListSub(list):
    pass


class DictSub(dict):
    pass


class SetSub(set):
    pass


class Color(enum.Enum):
    RED = 1
    BLUE = 'blue'


Pair = collections.namedtuple('Pair', 'left right')


class Values:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.tags = 0
        self.pool = []
        self.same_in_all = True

    def tag(self):
        self.tags += 1
        return 'tag %d' % self.tags

    def text(self):
        if self.random.random() < 0.8:
            return self.random.choice(STRINGS[:-1] if self.random.random() < 0.99 else STRINGS)
        return ''.join(self.random.choice('ab\'"\\é中😀\n\x07 ') for _ in range(self.random.randrange(12)))

    def int(self):
        r = self.random
        edge = 1 << r.choice([0, 1, 7, 8, 15, 16, 31, 32, 63, 64, 200, 2100])
        return r.choice([r.randrange(-5, 300), edge, edge - 1, -edge, -edge - 1, r.getrandbits(200), r.getrandbits(60)])

    def float(self):
        r = self.random
        if r.random() < 0.5:
            return r.choice(FLOATS)
        return r.choice([r.random(), r.uniform(-1e20, 1e20), struct.unpack('d', struct.pack('Q', r.getrandbits(64)))[0]])

    def hashable(self, depth):
        r = self.random
        kind = r.randrange(10 if depth > 0 else 7)
        if kind < 3:
            return self.text()
        if kind < 5:
            return self.int()
        if kind == 5:
            return r.choice([None, True, b'', b'bytes', bytes(range(256)), 0.5, 1e300])
        if kind == 6:
            return Point(self.tag())
        if kind < 9:
            return tuple(self.hashable(depth - 1) for _ in range(r.randrange(4)))
        return frozenset(self.hashable(depth - 1) for _ in range(r.randrange(4)))

    def atom(self):
        r = self.random
        kind = r.randrange(13)
        if kind < 3:
            return self.text()
        if kind < 6:
            return self.int()
        if kind < 8:
            return self.float()
        if kind < 10:
            return r.choice([None, True, False, (), b'', b'four', b"'\x00\xff\n\\", bytes(r.getrandbits(8) for _ in range(300))])
        if kind == 10:
            return bytearray(r.choice([b'', b'a', b'array' * 9]))
        if kind == 11:
            return r.choice([complex(self.float(), self.float()), complex(1, -2), range(3), range(5, -7, -2),
                             slice(None, 2, None), slice(1, 10**20, 3), slice('a', None, None)])
        return r.choice([datetime.datetime(2024, 2, 29, 1, 2, 3, 4, tzinfo=datetime.timezone.utc), decimal.Decimal('1.50'),
                         fractions.Fraction(3, 7), Color.BLUE, len, Point, datetime.timedelta(days=-1), KeyError('k', 1)])

    def value(self, depth):
        r = self.random
        if depth == 0 or r.random() < 0.3:
            return self.atom()
        if self.pool and r.random() < 0.12:
            return r.choice(self.pool)
        size = r.choice([0, 1, 1, 2, 3, 4, 6])
        kind = r.randrange(24)
        if kind < 6:
            made = []
            self.pool.append(made)
            made.extend(self.value(depth - 1) for _ in range(size))
        elif kind < 10:
            made = {}
            self.pool.append(made)
            for _ in range(size):
                made[self.hashable(1)] = self.value(depth - 1)
        elif kind < 13:
            made = tuple(self.value(depth - 1) for _ in range(size))
            self.pool.append(made)
        elif kind < 15:
            made = r.choice([set, frozenset, SetSub])(self.hashable(2) for _ in range(size))
            self.pool.append(made)
        elif kind == 15:
            made = r.choice([Point, State, Applied])(self.tag())
            if type(made) is State:
                made.inside.append(self.value(depth - 1))
            elif type(made) is Applied:
                made.state = None
                if sys.version_info < (3, 8):
                    return made.tag
            self.pool.append(made)
            if type(made) is Applied:
                made.state = self.value(depth - 1)
            elif type(made) is Point:
                made.inside = self.value(depth - 1)
        elif kind == 16:
            made = Slots(self.tag())
            self.pool.append(made)
            made.other = self.value(depth - 1)
        elif kind == 17:
            made = r.choice([ListSub, collections.deque])()
            self.pool.append(made)
            made.extend(self.value(depth - 1) for _ in range(size))
            if type(made) is ListSub:
                made.note = self.value(depth - 1)
        elif kind == 18:
            made = r.choice([DictSub, collections.OrderedDict, lambda: collections.defaultdict(list)])()
            self.pool.append(made)
            for _ in range(size):
                made[self.text()] = self.value(depth - 1)
        elif kind == 19:
            made = Pair(self.value(depth - 1), self.value(depth - 1))
        elif kind == 20:
            # Before protocol 4 it is made by functools.partial. That must be complete when it is called, so a
            # circle through it can be unpickled from some of its parts only.
            self.same_in_all = False
            made = NewArgs(self.tag(), extra=self.atom())
        elif kind == 21:
            inside = []
            made = (inside, self.value(depth - 1), inside)[:r.randrange(1, 4)]
            inside.extend([self.atom(), made])
            self.pool.append(made)
        elif kind == 22:
            made = Wrap([])
            made.items.extend([self.value(depth - 1), made])
            self.pool.append(made)
        else:
            self.same_in_all = False  # before protocol 4 it is made of a list
            member = Point(self.tag())
            made = r.choice([set, frozenset])([member, 1])
            member.inside = [made]
        return made


def key(item):
    if type(item) is tuple:
        return ('tuple', tuple(map(key, item)))
    if type(item) is frozenset:
        return ('frozenset', tuple(sorted(map(key, item), key=repr)))
    if isinstance(item, Point):
        return ('point', item.tag)
    return (type(item).__name__, repr(item))


def parts(item):
    """What is compared of an item, in pairs that follow each other, and what is in it."""
    kind = type(item)
    inside = []
    if isinstance(item, (list, tuple, collections.deque)):
        inside += list(item)
    elif isinstance(item, dict):
        for name, value in item.items():
            inside += [name, value]
    elif isinstance(item, (set, frozenset)):
        inside += sorted(item, key=lambda member: repr(key(member)))
    elif kind is slice:
        inside += [item.start, item.stop, item.step]
    elif isinstance(item, BaseException):
        inside += [item.args]
    if kind is Slots:
        inside += [item.tag, item.other]
    elif kind in (Point, State, NewArgs, Wrap, Applied, ListSub, DictSub):
        for name, value in sorted(item.__dict__.items()):
            inside += [name, value]
    return inside


def same(ours, theirs):
    there, back, waiting = {}, {}, [(ours, theirs)]
    while waiting:
        a, b = waiting.pop()
        if type(a) is not type(b):
            return 'types %r and %r' % (type(a), type(b))
        if type(a) is float:
            if struct.pack('d', a) != struct.pack('d', b):
                return 'floats %r and %r' % (a, b)
            continue
        if type(a) is complex:
            waiting += [(a.real, b.real), (a.imag, b.imag)]
            continue
        if type(a) in (type(None), bool, int, str, bytes, range, datetime.datetime, datetime.timedelta, decimal.Decimal,
                       fractions.Fraction, Color, type, type(len)):
            if a != b:
                return 'atoms %r and %r' % (a, b)
            continue
        if not isinstance(a, (tuple, frozenset, slice)):
            if there.get(id(a), b) is not b or back.get(id(b), a) is not a:
                return 'what is shared, at %r' % type(a)
        if id(a) in there and there[id(a)] is b:
            continue
        there[id(a)], back[id(b)] = b, a
        if type(a) is bytearray and a != b:
            return 'bytearrays'
        mine, other = parts(a), parts(b)
        if len(mine) != len(other):
            return 'sizes %d and %d of %r' % (len(mine), len(other), type(a))
        waiting += zip(mine, other)
    return None


def is_plain(root):
    seen, waiting = set(), [root]
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if type(item) not in PLAIN:
            return False
        waiting += parts(item)
    return True


def send(message):
    sys.stdout.buffer.write(struct.pack('>I', len(message)) + message)


def receive():
    size, = struct.unpack('>I', sys.stdin.buffer.read(4))
    return sys.stdin.buffer.read(size)


def check(what, seed, ours, message):
    for name, loads in (('C', pickle.loads), ('Python', pickle._loads)):
        kind, theirs = loads(message)
        if kind != '#RETURN' or len(ours) != len(theirs):
            sys.exit('%s of value %d, read by %s: %r' % (what, seed, name, kind))
        # Each was taken by itself: nothing is shared between them.
        for index, pair in enumerate(zip(ours, theirs)):
            difference = same(*pair)
            if difference:
                sys.exit('%s of value %d, part %d, read by %s: %s' % (what, seed, index, name, difference))


def main():
    first, count = int(sys.argv[1]), int(sys.argv[2])
    protocols = [3, 4, 5] if pickle.HIGHEST_PROTOCOL >= 5 else [3, 4]
    shown = 0
    for start in range(first, first + count, BATCH):
        batch = []
        for seed in range(start, min(start + BATCH, first + count)):
            values = Values(seed)
            value, second = values.value(4), values.value(2)
            ident, method = values.random.choice(STRINGS[:6]), values.random.choice(STRINGS[:6])
            dumps = values.random.choice([pickle.dumps, pickle._dumps])
            requests = [dumps((ident, method, (value, second), {'key': [second]}), protocol) for protocol in protocols]
            if not values.same_in_all:
                requests = [values.random.choice(requests)]
            send(struct.pack('>I', len(requests)))
            for request in requests:
                send(request)
            batch.append((seed, value, second))
        send(b'')
        sys.stdout.buffer.flush()
        for seed, value, second in batch:
            check('reply', seed, (value, second, [second]), receive())
            text = receive().decode()
            if is_plain(value):
                shown += 1
                # A surrogate is escaped, so what is shown has none.
                if repr(value) != text:
                    sys.exit('value %d is shown as\n%s\nwhere Python has\n%s' % (seed, text[:3000], repr(value)[:3000]))
        check('batch', start, [value for _, value, _ in batch], receive())
    send(struct.pack('>I', 0))
    sys.stdout.buffer.flush()
    if shown * 10 < count:
        sys.exit('only %d of %d were compared as they are shown' % (shown, count))


if __name__ == '__main__':
    sys.setrecursionlimit(5000)
    main()
