"""Objects are the same ones after a restart of their broker, which happens when this has said so."""
import sys

from connected import manager

m = manager('get_tasks', 'get_my_list')
objects = {
    'list': m.list([1, 'two']),
    'dict': m.dict(one=1),
    'queue': m.Queue(),
    'value': m.Value('i', 7),
    'array': m.Array('d', [0.5]),
    'lock': m.Lock(),
    'semaphore': m.Semaphore(2),
    'event': m.Event(),
    'tasks': m.get_tasks(),
    'my_list': m.get_my_list(),
}
objects['list'].append(objects['dict'])
objects['queue'].put('item')
objects['lock'].acquire()
objects['event'].set()
objects['tasks'].put({'kept': True})
objects['my_list'].append(3)
idents = {name: proxy._token.id for name, proxy in objects.items()}
print('ready', flush=True)
assert sys.stdin.readline() == 'restarted\n'

for proxy in objects.values():
    proxy._connect()
assert objects['list'][0] == 1 and objects['list'][2].copy() == {'one': 1}
assert objects['queue'].get(timeout=20) == 'item'
assert objects['value'].get() == 7 and objects['array'][0] == 0.5
assert objects['lock'].acquire(False) is False
objects['lock'].release()
assert objects['semaphore'].acquire() and objects['semaphore'].acquire()
assert objects['semaphore'].acquire(False) is False
assert objects['event'].is_set()
assert objects['tasks'].get(timeout=20) == {'kept': True}
assert objects['my_list'].pop() == 3
# And a program that begins now finds those that have a name.
again = manager('get_my_list').get_my_list()
assert again._token.id == idents['my_list']
again.append(4)
assert objects['my_list'][:] == [4]
