"""Every type that a manager makes, and names that the broker has; nothing is said if all is well."""
import datetime
import queue
import sys
import threading

from connected import manager

m = manager('get_my_list', 'get_tasks', 'get_seen')


def raises(error, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except error as caught:
        return caught
    raise AssertionError(f'{call} has raised nothing')


class Point:
    def __init__(self, x):
        self.x = x


# Named objects: no class of a proxy is registered, and still len() and indexes work.
l = m.get_my_list()
value = {'a': [1, 2.5, None, True, 'é', b'\0', (1,), {2}, 1 << 100], 'b': {}}
l.extend([value, 3])
assert len(l) >= 2 and l[-2] == value and l[-1] == 3 and l[-2:] == [value, 3]
assert l.pop() == 3 and str(raises(IndexError, l.__getitem__, 9999)) == 'list index out of range'
l.append(Point(7))
assert l.pop().x == 7
l.append(datetime.date(2020, 2, 29))
assert l.pop() == datetime.date(2020, 2, 29)
circle = []
circle.append(circle)
l.append(circle)
back = l.pop()
assert back[0] is back
l.append('\udcff')
assert l.pop() == '\udcff'

q = m.get_tasks()
q.put((1, 2))
assert q.qsize() == 1 and not q.empty() and q.get() == (1, 2)
raises(queue.Empty, q.get_nowait)
raises(queue.Empty, q.get, timeout=0.01)
raises(queue.Empty, q.get, False)

d = m.get_seen()
d.update({'x': 1}, y=2)
d[(1, 'k')] = 3
assert d['x'] == 1 and d.get('n', 5) == 5 and 'y' in d and len(d) == 3
assert dict(d.items()) == {'x': 1, 'y': 2, (1, 'k'): 3} and list(d.keys()) == ['x', 'y', (1, 'k')]
assert list(d) == ['x', 'y', (1, 'k')], 'a dict of the broker is looped over'
assert raises(KeyError, d.__getitem__, 'none').args == ('none',)
assert d.setdefault('x', 9) == 1 and d.pop('y') == 2 and d.pop('y', 0) == 0
d.clear()

# Made by the program.
x = m.list(range(3))
x += [5, 4]
x.insert(0, 9)
x.sort()
assert x[:] == [0, 1, 2, 4, 5, 9] and x[::-2] == [9, 4, 1] and x * 2 == x[:] + x[:]
x.sort(reverse=True)
x.reverse()
x *= 2
assert len(x) == 12 and x.index(1) == 1 and x.count(9) == 2 and 4 in x and 7 not in x
x[2:] = ['a', 'b']
del x[0]
assert x[:] == [1, 'a', 'b'] and str(x) == "[1, 'a', 'b']"
assert 'not in list' in str(raises(ValueError, x.remove, 'z'))
assert 'no functions' in str(raises(NotImplementedError, x.sort, key=len))
assert list(reversed(m.list([1, 2]))) == [2, 1]

y = m.dict(a=1)
y['list'] = x
y['list'].append(Point(1))
assert x.pop().x == 1, 'a proxy within a dict is the same list'
assert sorted(iter(y)) == ['a', 'list']
y2 = m.dict([(1, 2)])
it = iter(y2)
y2[5] = 6
raises(RuntimeError, next, it)
assert str(y2) == '{1: 2, 5: 6}' and y2.copy() == {1: 2, 5: 6}

e = m.Event()
assert not e.is_set() and not e.wait(0.01)
threading.Timer(0.05, e.set).start()
assert e.wait(20)

k = m.Lock()
assert k.acquire() and not k.acquire(False) and not k.acquire(True, 0.01)
threading.Thread(target=k.release).start()
assert k.acquire(True, 20), 'a lock that another thread has released'
k.release()
assert str(raises(RuntimeError, k.release)) == 'release unlocked lock'
r = m.RLock()
assert r.acquire() and r.acquire()
r.release()
r.release()
raises(RuntimeError, r.release)
s = m.BoundedSemaphore(2)
assert s.acquire() and s.acquire() and not s.acquire(False)
s.release()
s.release()
raises(ValueError, s.release)
c = m.Condition()
raises(RuntimeError, c.notify)
with c:
    assert not c.wait(0.01)
    assert c.wait_for(lambda: True)
b = m.Barrier(2)
threading.Thread(target=b.wait).start()
assert b.wait(20) in (0, 1) and b.parties == 2 and not b.broken
b.abort()
raises(threading.BrokenBarrierError, b.wait)

v = m.Value('i', 5)
v.value += 1
assert v.value == 6
a = m.Array('d', [1, 2, 3])
a[1] = 9.5
assert list(a) == [1, 9.5, 3] and len(a) == 3 and a._getvalue().tolist() == [1, 9.5, 3]
n = m.Namespace(x=1)
n.y = [1]
assert n.x == 1 and n.y == [1] and str(n).endswith('Namespace(x=1, y=[1])')
raises(AttributeError, getattr, n, 'z')
if sys.version_info >= (3, 14):
    assert m.set([1, 2, 1]) == {1, 2}

j = m.JoinableQueue(1)
j.put('one')
raises(queue.Full, j.put, 'two', True, 0.01)
assert j.full() and j.get() == 'one'
j.task_done()
j.join()
raises(ValueError, j.task_done)

# What is refused says why.
from multiprocessing.managers import RemoteError, dispatch
assert "KeyError: 'Pool'" in str(raises(RemoteError, m.Pool))
connection = m._Client(m._address, authkey=m._authkey)
nothing = raises(RemoteError, dispatch, connection, None, 'incref', ('list:_/7fffffff',))
assert 'no such object' in str(nothing)
assert 'operator' in str(raises(RemoteError, dispatch, connection, None, 'shutdown'))
assert 'these are: ' in str(raises(RemoteError, x._callmethod, 'fly'))
