//! Any text: it parses or not, and what parses runs to an end within small limits, traced or not.

#![no_main]

use std::sync::Arc;
use std::sync::LazyLock;

use fluvial_template::sprig::{self, Ambient, Host};
use fluvial_template::{Functions, Limits, Set, Trace, Value};

static FUNCTIONS: LazyLock<Arc<Functions>> = LazyLock::new(|| {
    let mut functions = Functions::builtins();
    sprig::register(&mut functions);
    // Making keys is slow by nature.
    for name in ["genPrivateKey", "genCA", "genSelfSignedCert", "genSignedCert", "derivePassword", "bcrypt", "htpasswd"] {
        functions.remove(name);
    }
    Arc::new(functions)
});

struct Still;

impl Ambient for Still {
    fn now(&mut self) -> i128 {
        1_700_000_000_000_000_000
    }

    fn random(&mut self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}

libfuzzer_sys::fuzz_target!(|text: &str| {
    let mut set = Set::new(Arc::clone(&FUNCTIONS));
    if set.add("t", text).is_err() {
        return;
    }
    let data = Value::from_json(&serde_json::json!({
        "a": {"b": [1, 2.5, "x", null], "c": {"d": "text"}},
        "s": "a,b,c", "n": 7, "t": true, "nil": null,
    }));
    let limits = Limits { output: 1 << 16, steps: 20_000, depth: 50 };
    let host = || Host { ambient: Box::new(Still), state: Box::new(()) };
    let plain = set.execute("t", &data, limits, &mut host());
    let data = Value::from_json(&data.to_json());
    let mut trace = Trace::new();
    if let Value::Map(map) = &data {
        trace.watch(map, "");
    }
    let traced = set.execute_traced("t", &data, limits, &mut host(), &mut trace);
    assert_eq!(plain.is_ok(), traced.is_ok());
    let _ = trace.take().reads();
});
