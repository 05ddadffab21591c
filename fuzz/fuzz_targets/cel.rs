//! Expressions: reading, checking and running them ends, within the cost that is allowed.
#![no_main]

use fluvial_schema::cel::{Env, Program, Type, Value, Vars};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|source: &str| {
    let object = serde_json::json!({"n": 5, "s": "text", "l": [3, 1, 2], "m": {"k": "v"}, "nested": {"a": [{"b": 1}]}});
    for env in [
        Env::kubernetes().variable("self", Type::Dyn),
        Env::mutation(true).variable("self", Type::Dyn),
        Env::flux().variable("self", Type::Dyn).unchecked(),
    ] {
        if let Ok(program) = Program::compile(source, &env) {
            let vars = Vars::default()
                .with("self", Value::json(&object))
                .with("object", Value::json(&object));
            let _value = program.eval_within(&vars, 1_000_000);
        }
    }
});
