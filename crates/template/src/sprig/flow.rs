//! Defaults, choices, failing, and questions about types.

use crate::function::{FunctionResult, Functions, Params, Type, text};
use crate::value::Value;

use super::text_at;

pub(super) fn register(functions: &mut Functions) {
    let one = || Params::fixed(&[Type::Any]);
    let all = || Params::variadic(&[], Type::Any);
    functions.pure("default", Params::variadic(&[Type::Any], Type::Any), |v| {
        Ok(if v.len() < 2 || !v[1].truth() {
            v[0].clone()
        } else {
            v[1].clone()
        })
    });
    functions.pure("empty", one(), |v| Ok((!v[0].truth()).into()));
    functions.pure("coalesce", all(), |v| {
        Ok(v.iter()
            .find(|value| value.truth())
            .cloned()
            .unwrap_or(Value::NilInterface))
    });
    functions.pure("all", all(), |v| Ok(v.iter().all(Value::truth).into()));
    functions.pure("any", all(), |v| Ok(v.iter().any(Value::truth).into()));
    functions.pure(
        "ternary",
        Params::fixed(&[Type::Any, Type::Any, Type::Bool]),
        |v| Ok(v[usize::from(!v[2].truth())].clone()),
    );
    functions.pure("fail", Params::fixed(&[Type::Str]), |v| Err(text_at(v, 0).into()));
    functions.pure("typeOf", one(), |v| text(v[0].type_name()));
    functions.pure("typeIs", Params::fixed(&[Type::Str, Type::Any]), |v| {
        Ok((v[1].type_name() == text_at(v, 0)).into())
    });
    functions.pure("typeIsLike", Params::fixed(&[Type::Str, Type::Any]), |v| {
        let name = v[1].type_name();
        Ok((name == text_at(v, 0) || name.strip_prefix('*') == Some(text_at(v, 0))).into())
    });
    functions.pure("kindOf", one(), |v| text(v[0].kind()));
    functions.pure("kindIs", Params::fixed(&[Type::Str, Type::Any]), |v| {
        Ok((v[1].kind() == text_at(v, 0)).into())
    });
    functions.pure("deepEqual", Params::fixed(&[Type::Any, Type::Any]), deep_equal);
}

fn deep_equal(values: &[Value]) -> FunctionResult {
    Ok(values[0].deep_equal(&values[1]).into())
}
