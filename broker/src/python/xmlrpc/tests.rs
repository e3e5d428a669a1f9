//! XML-RPC as Python writes and reads it, and what is refused.

use std::env;
use std::io::{BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use ganger_chance::Rng;
use ganger_shared::Value;
use ganger_shared::value::Integer;

use super::*;

/// What Python 3.8 and 3.13 write for
/// `(None, 'accept_connection', ('MainProcess|t',), {})`.
const ACCEPT: &str = "<params>\n<param>\n<value><array><data>\n<value><nil/></value>\
    <value><string>accept_connection</string></value>\n\
    <value><array><data>\n<value><string>MainProcess|t</string></value>\n\
    </data></array></value>\n<value><struct>\n</struct></value>\n\
    </data></array></value>\n</param>\n</params>\n";

const EMPTY_ARGS: &str = "<value><array><data/></array></value>";
const EMPTY_KWDS: &str = "<value><struct/></value>";

/// A request whose four are these values.
fn message(values: &str) -> String {
    format!("<params><param><value><array><data>{values}</data></array></value></param></params>")
}

/// A request with one argument.
fn with_argument(value: &str) -> String {
    message(&format!(
        "<value>1</value><value>m</value><value><array><data><value>{value}</value></data>\
         </array></value>{EMPTY_KWDS}"
    ))
}

/// Where the argument begins in it.
const ARGUMENT: usize = 94;

/// What the pickle of that request has for the argument.
#[track_caller]
fn argument(value: &str) -> Vec<u8> {
    let pickle = request(with_argument(value).as_bytes(), 1 << 20).unwrap();
    let rest = pickle.strip_prefix(b"\x80\x04(\x8c\x011\x8c\x01m(").unwrap();
    rest.strip_suffix(b"t}t.").unwrap().to_vec()
}

#[track_caller]
fn assert_refused(message: &str, text: &str) {
    let error = request(message.as_bytes(), 1 << 20).unwrap_err();
    assert_eq!(error.to_string(), text, "{message}");
}

#[test]
fn first_request_of_a_session_becomes_its_pickle() {
    assert_eq!(
        request(ACCEPT.as_bytes(), ACCEPT.len()).unwrap(),
        b"\x80\x04(N\x8c\x11accept_connection(\x8c\x0dMainProcess|tt}t."
    );
}

#[test]
fn every_type_of_a_captured_request_becomes_its_own() {
    // ('7f', ' a<&>"\r\n\t', ((1, -2, True, None, 1.5, -inf, 1e300), [], {}, (), b'',
    //   bytes(range(60)), datetime(2024, 1, 2, 3, 4, 5)), {'k': {'a ': ['é😀', []]}})
    let captured = "<params>\n<param>\n<value><array><data>\n\
        <value><string>7f</string></value>\n\
        <value><string> a&lt;&amp;&gt;\"\r\n\t</string></value>\n<value><array><data>\n\
        <value><array><data>\n<value><int>1</int></value>\n<value><int>-2</int></value>\n\
        <value><boolean>1</boolean></value>\n\
        <value><nil/></value><value><double>1.5</double></value>\n\
        <value><double>-inf</double></value>\n<value><double>1e+300</double></value>\n\
        </data></array></value>\n<value><array><data>\n</data></array></value>\n\
        <value><struct>\n</struct></value>\n<value><array><data>\n\
        </data></array></value>\n<value><base64>\n</base64></value>\n<value><base64>\n\
        AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4\n\
        OTo7\n</base64></value>\n\
        <value><dateTime.iso8601>20240102T03:04:05</dateTime.iso8601></value>\n\
        </data></array></value>\n<value><struct>\n<member>\n<name>k</name>\n\
        <value><struct>\n<member>\n<name>a </name>\n<value><array><data>\n\
        <value><string>é😀</string></value>\n<value><array><data>\n\
        </data></array></value>\n</data></array></value>\n</member>\n</struct></value>\n\
        </member>\n</struct></value>\n</data></array></value>\n</param>\n</params>\n";
    let mut pickle = b"\x80\x04(\x8c\x027f\x8c\x08 a<&>\"\n\t(".to_vec();
    pickle.extend(b"](K\x01J\xfe\xff\xff\xff\x88N");
    for number in [1.5, f64::NEG_INFINITY, 1e300_f64] {
        pickle.push(b'G');
        pickle.extend(number.to_be_bytes());
    }
    pickle.extend(b"e]}]C\x00C\x3c");
    pickle.extend(0..60);
    pickle.extend(b"\x8c\x1120240102T03:04:05t");
    pickle.extend(b"}(\x8c\x01k}(\x8c\x02a ](\x8c\x06\xc3\xa9\xf0\x9f\x98\x80]euut.");
    assert_eq!(request(captured.as_bytes(), 1 << 20).unwrap(), pickle);
}

#[test]
fn integer_takes_the_shortest_form_that_it_fits() {
    for (text, pickle) in [
        ("0", &b"K\x00"[..]),
        ("255", b"K\xff"),
        ("256", b"J\x00\x01\x00\x00"),
        ("-1", b"J\xff\xff\xff\xff"),
        (" +7\n", b"K\x07"),
        ("2147483647", b"J\xff\xff\xff\x7f"),
        ("2147483648", b"\x8a\x08\x00\x00\x00\x80\x00\x00\x00\x00"),
        ("-9223372036854775808", b"\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80"),
        ("9223372036854775808", b"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x80\x00"),
        ("-9223372036854775809", b"\x8a\x09\xff\xff\xff\xff\xff\xff\xff\x7f\xff"),
    ] {
        for element in ["int", "i1", "i2", "i4", "i8", "biginteger"] {
            assert_eq!(argument(&format!("<{element}>{text}</{element}>")), pickle, "{text}");
        }
    }
    let digits = "9".repeat(4300);
    let long = argument(&format!("<int>{digits}</int>"));
    assert_eq!(long[..5], [0x8b, 0xfa, 0x06, 0, 0]);
    assert_eq!(long.len(), 5 + 0x6fa);
}

#[test]
fn text_is_kept_as_python_keeps_it() {
    for (value, text) in [
        ("", ""),
        (" \n", " \n"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("a&#13;b&#x1F600;", "a\rb😀"),
        ("<string/>", ""),
        (" <string> a </string>\n", " a "),
        ("<string>&lt;&gt;&amp;&quot;&apos;</string>", "<>&\"'"),
        ("<string>&amp;lt;</string>", "&lt;"),
        ("<dateTime.iso8601>19980717T14:08:55</dateTime.iso8601>", "19980717T14:08:55"),
    ] {
        let mut pickle = vec![0x8c, u8::try_from(text.len()).unwrap()];
        pickle.extend(text.bytes());
        assert_eq!(argument(value), pickle, "{value}");
    }
    let long = "x".repeat(256);
    assert_eq!(argument(&long), [b"X\x00\x01\x00\x00", long.as_bytes()].concat());
}

#[test]
fn key_that_comes_twice_is_left_to_the_reader_of_the_pickle() {
    let member = "<member><name>k</name><value><nil/></value></member>";
    assert_eq!(argument(&format!("<struct>{member}{member}</struct>")), b"}(\x8c\x01kN\x8c\x01kNu");
}

#[test]
fn value_out_of_its_type_is_refused_with_what_it_is() {
    for (value, error) in [
        ("<boolean>2</boolean>", "boolean holds \"2\", which is none"),
        ("<boolean> 1</boolean>", "boolean holds \" 1\", which is none"),
        ("<nil>x</nil>", "nil holds \"x\", which is none"),
        ("<int></int>", "int holds \"\", which is none"),
        ("<int>-</int>", "int holds \"-\", which is none"),
        ("<int>+-1</int>", "int holds \"+-1\", which is none"),
        ("<int>--1</int>", "int holds \"--1\", which is none"),
        ("<int>0x10</int>", "int holds \"0x10\", which is none"),
        ("<i8>1.0</i8>", "i8 holds \"1.0\", which is none"),
        ("<double>one</double>", "double holds \"one\", which is none"),
        ("<base64>YQ</base64>", "base64 element cannot be decoded"),
        ("<base64>é</base64>", "base64 element cannot be decoded"),
        ("<bigdecimal>1</bigdecimal>", "element \"bigdecimal\" is unknown"),
        ("<ex:nil/>", "element \"ex:nil\" is unknown"),
        ("<int a='1'>1</int>", "element \"int a='1'\" is unknown"),
    ] {
        assert_refused(&with_argument(value), error);
    }
    let error =
        request(with_argument(&format!("<int>{}</int>", "9".repeat(4301))).as_bytes(), 1 << 20);
    assert!(matches!(error, Err(XmlError::NotOfType { element: "int", text }) if text.len() < 70));
}

#[test]
fn what_is_not_elements_and_text_is_refused() {
    let markup = |kind, position| {
        format!("{kind} before byte {position}, where a message has elements and text only")
    };
    for (value, kind) in [
        ("<!--c-->", "a comment"),
        ("<![CDATA[c]]>", "a CDATA section"),
        ("<?p i?>", "a processing instruction"),
    ] {
        assert_refused(&with_argument(value), &markup(kind, ARGUMENT + value.len()));
    }
    let declared = format!("<?xml version='1.0'?>{ACCEPT}");
    assert_refused(&declared, &markup("an XML declaration", 21));
    for name in ["e", "#xd800", "#99999999999", "#0", "#", "", "#x", "LT"] {
        let error =
            format!("reference {name:?} is neither predefined nor the number of a character");
        assert_refused(&with_argument(&format!("&{name};")), &error);
    }
    for (value, code) in
        [("&#1;", "0001"), ("&#xffff;", "FFFF"), ("\u{1}", "0001"), ("\u{fffe}", "FFFE")]
    {
        let error = format!("character U+{code} is none that XML can have");
        assert_refused(&with_argument(value), &error);
    }
    let error = request(b"<params>\xff", 100).unwrap_err();
    assert_eq!(error.to_string(), "message is not UTF-8 from byte 8 on");
}

#[test]
fn entity_bomb_ends_at_its_first_declaration() {
    let entities: String = (1..10)
        .map(|n| format!("<!ENTITY e{n} \"{}\">", format!("&e{};", n - 1).repeat(10)))
        .collect();
    let bomb = format!("<!DOCTYPE b [<!ENTITY e0 \"x\">{entities}]>{}", with_argument("&e9;"));
    let error = request(bomb.as_bytes(), 1 << 20).unwrap_err();
    assert!(matches!(error, XmlError::Markup { kind: "a document type", .. }), "{error}");
}

#[test]
fn misplaced_element_is_refused_with_what_belongs_there() {
    for (message, error) in [
        ("", "the end of the message before byte 0, where params is expected"),
        ("<value/>", "<value> before byte 8, where params is expected"),
        ("<params/>", "</params> before byte 9, where param is expected"),
        ("<params>x<param/></params>", "text \"x\" stands between elements"),
    ] {
        assert_refused(message, error);
    }
    let after = "the end of the element";
    for (before, found, rest, expected) in [
        ("<array>", "</array>", "", "data"),
        ("<array><data>", "<int>", "</int></data></array>", "<value> or </data>"),
        ("<struct>", "<name>", "</name></struct>", "<member> or </struct>"),
        ("<struct><member>", "<value>", "</value></member></struct>", "name"),
        ("<int>1</int>", "<int>", "1</int>", after),
        ("<string>", "<int>", "</int></string>", after),
        ("", "<value>", "</value>", "a type"),
    ] {
        let position = ARGUMENT + before.len() + found.len();
        assert_refused(
            &with_argument(&format!("{before}{found}{rest}")),
            &format!("{found} before byte {position}, where {expected} is expected"),
        );
    }
    for value in ["<int>1</int>x", "x<int>1</int>"] {
        assert_refused(&with_argument(value), "text \"x\" stands between elements");
    }
    let crossed = request(with_argument("<int>1</string>").as_bytes(), 1 << 20).unwrap_err();
    assert!(matches!(crossed, XmlError::NotXml { .. }), "{crossed}");
    let error = format!(
        "<params> before byte {}, where the end of the message is expected",
        ACCEPT.len() + "<params>".len()
    );
    assert_refused(&ACCEPT.repeat(2), &error);
}

#[test]
fn what_is_no_request_is_refused() {
    let two = "<value>1</value><value>m</value>";
    for (values, found, expected) in [
        (String::new(), "an array of 0", "the four of ident, methodname, args and kwds"),
        (two.to_owned(), "an array of 2", "the four of ident, methodname, args and kwds"),
        (format!("{two}<value/>"), "string", "an array of arguments"),
        (format!("{two}{EMPTY_KWDS}"), "struct", "an array of arguments"),
        (format!("{two}{EMPTY_ARGS}{EMPTY_ARGS}"), "array", "a struct of arguments"),
        (
            format!("{two}{EMPTY_ARGS}{EMPTY_KWDS}<value/>"),
            "an array of more than four",
            "the four of ident, methodname, args and kwds",
        ),
    ] {
        assert_refused(&message(&values), &format!("{found} where a request has {expected}"));
    }
    assert_refused(
        "<params><param><value>x</value></param></params>",
        "string where a request has an array",
    );
}

#[test]
fn message_is_read_up_to_its_bounds() {
    assert_eq!(
        request(ACCEPT.as_bytes(), ACCEPT.len() - 1),
        Err(XmlError::TooLarge { size_bytes: ACCEPT.len(), max_bytes: ACCEPT.len() - 1 })
    );
    let lists = |depth: usize| {
        let (start, end) = ("<array><data><value>", "</value></data></array>");
        with_argument(&format!("{}{}", start.repeat(depth), end.repeat(depth)))
    };
    assert!(request(lists(DEPTH_MAX).as_bytes(), 1 << 20).is_ok());
    assert_eq!(request(lists(DEPTH_MAX + 1).as_bytes(), 1 << 20), Err(XmlError::TooDeep));
}

#[test]
fn nesting_bomb_ends_at_the_deepest_level_that_is_read() {
    for level in ["<array><data><value>", "<struct><member><name>k</name><value>"] {
        let bomb = with_argument(&level.repeat(1 << 20));
        assert_eq!(request(bomb.as_bytes(), usize::MAX), Err(XmlError::TooDeep));
    }
}

#[test]
fn no_part_of_a_message_is_read_as_a_message() {
    let argument = "<struct><member><name>k&amp;</name><value><base64>\nYWJj\n</base64></value>\
        </member></struct>";
    for whole in [ACCEPT.trim_end(), &with_argument(argument)] {
        for size in 0..whole.len() {
            assert!(request(&whole.as_bytes()[..size], whole.len()).is_err(), "{size}");
        }
        assert!(request(whole.as_bytes(), whole.len()).is_ok());
    }
}

#[test]
fn damaged_message_is_never_more_than_refused() {
    let whole = with_argument(
        "<struct><member><name>k&#65;</name><value> <int>1</int></value>\
        </member></struct>",
    );
    let mut rng = Rng::new(7);
    for _ in 0..50_000 {
        let mut damaged = whole.clone().into_bytes();
        for _ in 0..rng.between(1..=3) {
            let (at, from) = (rng.size(0..=300) % damaged.len(), rng.size(0..=300) % whole.len());
            match rng.below(4) {
                0 => damaged[at] = *rng.pick(b"<>/&;#x\0\xff]!?-\"' "),
                1 => drop(damaged.remove(at)),
                2 => damaged.insert(at, whole.as_bytes()[from]),
                _ => drop(damaged.splice(at..at, whole.bytes().skip(from).take(20))),
            }
        }
        if let Ok(pickle) = request(&damaged, 1 << 20) {
            assert!(pickle.len() <= damaged.len());
        }
    }
}

#[test]
fn answer_is_what_python_writes() {
    assert_eq!(
        reply("#RETURN", &Value::None).unwrap(),
        b"<params>\n<param>\n<value><array><data>\n<value><string>#RETURN</string></value>\n\
          <value><nil/></value></data></array></value>\n</param>\n</params>\n"
    );
    let value = Value::List(vec![
        Value::Tuple(vec![1.into(), true.into(), "a\t>".into(), Value::Bytes((0..60).collect())]),
        Value::Map(vec![("k&".into(), Value::Float(-1.5))]),
        Value::Set(vec![]),
    ]);
    // _xml_dumps(('#RETURN', [(1, True, 'a\t>', bytes(range(60))), {'k&': -1.5}, []]))
    assert_eq!(
        str::from_utf8(&reply("#RETURN", &value).unwrap()).unwrap(),
        "<params>\n<param>\n<value><array><data>\n<value><string>#RETURN</string></value>\n\
         <value><array><data>\n<value><array><data>\n<value><int>1</int></value>\n\
         <value><boolean>1</boolean></value>\n<value><string>a\t&gt;</string></value>\n\
         <value><base64>\n\
         AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4\n\
         OTo7\n</base64></value>\n</data></array></value>\n<value><struct>\n<member>\n\
         <name>k&amp;</name>\n<value><double>-1.5</double></value>\n</member>\n\
         </struct></value>\n<value><array><data>\n</data></array></value>\n\
         </data></array></value>\n</data></array></value>\n</param>\n</params>\n"
    );
}

#[test]
fn integer_is_written_with_the_type_that_it_fits() {
    let large = 9_223_372_036_854_775_808_u64;
    for (number, element) in [
        (Value::from(-2_147_483_648_i64), "<int>-2147483648</int>"),
        (Value::from(2_147_483_648_i64), "<i8>2147483648</i8>"),
        (Value::from(large), "<biginteger>9223372036854775808</biginteger>"),
    ] {
        let written = String::from_utf8(reply("#RETURN", &number).unwrap()).unwrap();
        assert!(written.contains(element), "{written}");
    }
}

#[test]
fn value_without_a_form_is_refused_wherever_it_is() {
    let long: Integer = format!("-0x{}", "f".repeat(4000)).parse().unwrap();
    let deep = |depth| (0..depth).fold(Value::None, |inside, _| Value::List(vec![inside]));
    let opaque = Value::Opaque { format: "f".to_owned(), bytes: vec![].into() };
    assert!(reply("#RETURN", &deep(DEPTH_MAX)).is_ok());
    for (value, error) in [
        (opaque, XmlError::NoForm { kind: "opaque" }),
        (Value::Ref(ganger_shared::id::ObjectId(7)), XmlError::NoForm { kind: "ref" }),
        (Value::Map(vec![(1.into(), 1.into())]), XmlError::KeyNotText { kind: "int" }),
        (Value::Map(vec![("\0".into(), 1.into())]), XmlError::Character('\0')),
        ("\u{1b}[0m".into(), XmlError::Character('\u{1b}')),
        (long.into(), XmlError::IntegerTooLong),
        (deep(DEPTH_MAX + 1), XmlError::TooDeep),
    ] {
        let list = Value::List(vec![value.clone()]);
        assert_eq!(reply("#RETURN", &value), Err(error.clone()));
        if error != XmlError::TooDeep {
            assert_eq!(reply("#RETURN", &list), Err(error));
        }
    }
    assert_eq!(reply("\0", &Value::None), Err(XmlError::Character('\0')));
}

/// Frames have their size in front, four bytes, the highest first.
const PYTHON: &str = include_str!("tests.py");

/// The function of the script above, in a process of its own.
fn python(function: &str, seed: u64) -> Child {
    Command::new("python3")
        .args(["-c", PYTHON, function, &seed.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test needs a python3 on the PATH")
}

fn send(to: &mut impl Write, frame: &[u8]) {
    to.write_all(&u32::try_from(frame.len()).unwrap().to_be_bytes()).unwrap();
    to.write_all(frame).unwrap();
}

fn receive(from: &mut impl Read) -> Option<Vec<u8>> {
    let mut size = [0; 4];
    from.read_exact(&mut size).ok()?;
    let mut frame = vec![0; usize::try_from(u32::from_be_bytes(size)).unwrap()];
    from.read_exact(&mut frame).ok()?;
    Some(frame)
}

fn seed() -> u64 {
    let seed = env::var("SEED").map_or(7, |seed| seed.parse().unwrap());
    println!("repeat it with SEED={seed}");
    seed
}

#[test]
fn any_request_of_python_is_for_it_the_same_as_its_pickle() {
    let mut python = python("write_requests", seed());
    let mut stdin = python.stdin.take().unwrap();
    let mut stdout = BufReader::new(python.stdout.take().unwrap());
    let mut count = 0;
    while let Some(message) = receive(&mut stdout) {
        let pickle = request(&message, message.len());
        let pickle = pickle.unwrap_or_else(|error| {
            panic!("{error}: {}", String::from_utf8_lossy(&message));
        });
        send(&mut stdin, &pickle);
        count += 1;
    }
    assert!(python.wait().unwrap().success());
    assert_eq!(count, 500);
}

#[test]
fn any_answer_is_for_python_what_it_was() {
    let seed = seed();
    let mut rng = Rng::new(seed);
    let mut python = python("read_answers", seed);
    let mut stdin = python.stdin.take().unwrap();
    let mut stdout = BufReader::new(python.stdout.take().unwrap());
    for _ in 0..500 {
        let value = value(&mut rng, 3);
        send(&mut stdin, &reply("#RETURN", &value).unwrap());
        let seen = String::from_utf8(receive(&mut stdout).unwrap()).unwrap();
        assert_eq!(seen, format!("[s{},{},]", hex(b"#RETURN"), shown(&value)));
    }
    drop(stdin);
    assert!(python.wait().unwrap().success());
}

fn text(rng: &mut Rng) -> String {
    let all: Vec<char> = "ab <>&'\";\t\n\r]\u{7f}\u{85}é\u{2028}😀".chars().collect();
    (0..rng.below(9)).map(|_| *rng.pick(&all)).collect()
}

fn value(rng: &mut Rng, depth: u64) -> Value {
    let items = |rng: &mut Rng| -> Vec<Value> {
        (0..rng.below(5)).map(|_| value(rng, depth - 1)).collect()
    };
    match rng.below(if depth > 0 { 9 } else { 5 }) {
        0 => rng.pick(&[Value::None, true.into(), false.into()]).clone(),
        1 => {
            let wide = u128::from(rng.draw()) << 64 | u128::from(rng.draw());
            (wide.cast_signed() >> rng.between(0..=127)).into()
        }
        2 => {
            let any = f64::from_bits(rng.draw());
            Value::Float(*rng.pick(&[any, -0.0, f64::INFINITY, f64::NAN, 1e22, 0.1]))
        }
        3 => text(rng).into(),
        4 => {
            let mut bytes = vec![0; rng.size(0..=200)];
            rng.fill(&mut bytes);
            Value::Bytes(bytes.into())
        }
        5 => Value::List(items(rng)),
        6 => Value::Tuple(items(rng)),
        7 => Value::Set(items(rng)),
        _ => {
            let values = items(rng);
            // A number in front keeps the keys apart.
            let entry = |(number, value)| (format!("{number}{}", text(rng)).into(), value);
            Value::Map(values.into_iter().enumerate().map(entry).collect())
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn shown(value: &Value) -> String {
    match value {
        Value::None => "n".to_owned(),
        Value::Bool(true) => "t".to_owned(),
        Value::Bool(false) => "f".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Float(float) if float.is_nan() => "nan".to_owned(),
        Value::Float(float) => hex(&float.to_be_bytes()),
        Value::Text(text) => format!("s{}", hex(text.as_bytes())),
        Value::Bytes(bytes) => format!("b{}", hex(bytes)),
        Value::List(items) | Value::Tuple(items) | Value::Set(items) => {
            let items: String = items.iter().map(|item| shown(item) + ",").collect();
            format!("[{items}]")
        }
        Value::Map(entries) => {
            let entries = entries.iter().map(|(k, v)| format!("{}:{},", shown(k), shown(v)));
            format!("{{{}}}", entries.collect::<String>())
        }
        Value::Opaque { .. } | Value::Ref(_) => panic!("XML-RPC has no form for it"),
    }
}
