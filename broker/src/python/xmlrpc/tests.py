"""The other end of the tests of XML-RPC: what Python writes, and what it makes of answers."""
import datetime, math, pickle, random, struct, sys, xmlrpc.client as client
from multiprocessing import connection
connection.xmlrpclib = client
stdin, stdout = sys.stdin.buffer, sys.stdout.buffer

def send(data):
    stdout.write(struct.pack('>I', len(data)) + data)
    stdout.flush()

def recv():
    size = stdin.read(4)
    return stdin.read(*struct.unpack('>I', size)) if size else None

# What both sides write about a value.
def shown(x):
    if x is None: return 'n'
    if x is True: return 't'
    if x is False: return 'f'
    if isinstance(x, int): return '%d' % x
    if isinstance(x, float): return 'nan' if math.isnan(x) else struct.pack('>d', x).hex()
    if isinstance(x, str): return 's' + x.encode().hex()
    if isinstance(x, bytes): return 'b' + x.hex()
    if isinstance(x, client.Binary): return 'b' + x.data.hex()
    if isinstance(x, tuple): return '(' + ''.join(shown(y) + ',' for y in x) + ')'
    if isinstance(x, list): return '[' + ''.join(shown(y) + ',' for y in x) + ']'
    return '{' + ''.join(shown(k) + ':' + shown(v) + ',' for k, v in x.items()) + '}'

# What the default serializer would have brought, of what this one did.
def same(x):
    if isinstance(x, client.Binary): return x.data
    if isinstance(x, client.DateTime): return x.value
    if isinstance(x, list): return [same(y) for y in x]
    if isinstance(x, dict): return {k: same(v) for k, v in x.items()}
    return x

def text(r):
    chars = 'ab <>&\'\x22;\t\n\r]\x7f\x85\xe9\u2028\ufffd\U0001f600'
    return ''.join(r.choice(chars) for _ in range(r.randrange(9)))

def value(r, depth):
    kind = r.randrange(9 if depth else 7)
    if kind == 0: return r.choice([None, True, False])
    if kind == 1: return r.randrange(-2**r.randrange(1, 99), 2**r.randrange(1, 99))
    if kind == 2:
        size = r.choice([0.0, math.inf, math.nan, 5e-324, r.random(), 10.0**r.randrange(-300, 300)])
        return r.choice([1, -1]) * size
    if kind == 3: return text(r)
    if kind == 4: return bytes(r.randrange(256) for _ in range(r.randrange(99)))
    if kind == 5: return datetime.datetime(r.randrange(1, 9999), 2, 3, 4, 5, 6)
    if kind == 6: return text(r) * 99
    if kind == 7: return [value(r, depth - 1) for _ in range(r.randrange(5))]
    return {text(r): value(r, depth - 1) for _ in range(r.randrange(5))}

def write_requests(seed):
    # So that integers of any size are written, which the readers read.
    client.MAXINT, client.MININT = 2**99, -2**99
    r = random.Random(seed)
    for _ in range(500):
        args = tuple(value(r, 3) for _ in range(r.randrange(4)))
        kwds = {text(r): value(r, 3) for _ in range(r.randrange(4))}
        message = connection._xml_dumps((r.choice([None, '7f']), text(r), args, kwds))
        send(message)
        ident, method, args, kwds = same(connection._xml_loads(message))
        expected = ident, method, tuple(args), kwds
        data = recv()
        if data is None or shown(pickle.loads(data)) != shown(expected):
            sys.exit('%r became %r' % (message, data and pickle.loads(data)))

def read_answers(_):
    while True:
        data = recv()
        if data is None: break
        send(shown(connection._xml_loads(data)).encode())

globals()[sys.argv[1]](int(sys.argv[2]))
