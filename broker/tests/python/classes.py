"""A broker takes the classes of its list only, and whoever sends another is told which it was."""
import datetime
import decimal
from multiprocessing.managers import RemoteError

from connected import manager

m = manager()
shared = m.list([{'text': [1, 2.5, None, (1,), {2}, b'bytes', 1 << 100]}])
shared.append(decimal.Decimal('0.1'))
assert shared.pop() == decimal.Decimal('0.1')
try:
    shared.append(datetime.date(2020, 2, 29))
except RemoteError as error:
    assert 'datetime.date is not among the classes that may pass' in str(error), error
else:
    raise SystemExit('datetime.date has passed')
# The same connection goes on, and what the broker understands by itself passes.
shared.append(m.dict(one=1))
assert shared[1].copy() == {'one': 1} and len(shared[0:2]) == 2
