//! Ports of services that nobody will have: those of requests that change nothing.

use fluvial_schema::{ErrorKind, FieldError};
use serde_json::Value;

/// Whether the ports that a service asks for are nobody else's; those out of range are.
pub(super) fn are_free(object: &Value, is_taken: impl Fn(u16) -> bool) -> Result<(), Box<FieldError>> {
    let list = object["spec"]["ports"].as_array();
    for (index, port) in list.into_iter().flatten().enumerate() {
        let asked = port["nodePort"].as_u64();
        let asked = asked.and_then(|number| u16::try_from(number).ok());
        if let Some(asked) = asked.filter(|asked| is_taken(*asked)) {
            return Err(Box::new(FieldError::new(
                ErrorKind::Invalid,
                format!("spec.ports[{index}].nodePort"),
                asked.into(),
                "provided port is already allocated",
            )));
        }
    }
    Ok(())
}

/// Makes up the ports that are not asked for.
pub(super) fn ports(object: &mut Value) {
    let list = object["spec"].get_mut("ports").and_then(Value::as_array_mut);
    let mut next = 32_769;
    for port in list.into_iter().flatten() {
        if port["nodePort"].as_u64().unwrap_or(0) == 0 {
            port["nodePort"] = next.into();
            next += 1;
        }
    }
}
