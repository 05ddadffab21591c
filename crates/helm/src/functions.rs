//! The functions that Helm adds to Sprig's, and those that it replaces.

mod semver;
mod toml;
mod yaml;

use std::rc::Rc;
use std::sync::Arc;

use fluvial_template::sprig::{self, Host};
use fluvial_template::{
    Function, FunctionError, FunctionResult, Functions, Map, Params, Parsed, Reads, Scope, Set, Type, Value,
    quote,
};
use rustc_hash::FxHashMap;

pub(crate) use yaml::to_yaml;

/// How deep one template may include itself.
const INCLUDE_LIMIT: u32 = 1000;
/// The name under which texts of `tpl` run.
const TEXT_NAME: &str = "gotpl";
/// What marks a failure that a chart asked for.
pub(crate) const FAIL_START: &str = "HELM_ERR_START";
/// Its end.
pub(crate) const FAIL_END: &str = "HELM_ERR_END";

/// What `lookup` asks: a live cluster, a recording, or nothing.
pub trait Lookup: Send + Sync {
    /// An object, or a list of them if `name` is empty; what is not there is an empty object.
    ///
    /// # Errors
    /// Why the cluster could not be asked.
    fn lookup(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<serde_json::Value, String>;
}

/// Finds nothing, as a rendering without a cluster.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCluster;

impl Lookup for NoCluster {
    fn lookup(&self, _: &str, _: &str, _: &str, _: &str) -> Result<serde_json::Value, String> {
        Ok(serde_json::Value::Object(serde_json::Map::new()))
    }
}

/// What functions keep during one rendering.
pub(crate) struct RunState {
    pub(crate) lint: bool,
    pub(crate) lookup: Arc<dyn Lookup>,
    /// The set that runs, and those of `tpl` within `tpl`.
    pub(crate) sets: Vec<Arc<Set>>,
    includes: FxHashMap<Rc<str>, u32>,
    texts: FxHashMap<Rc<str>, Parsed>,
}

impl RunState {
    pub(crate) fn new(set: Arc<Set>, lookup: Arc<dyn Lookup>, lint: bool) -> Self {
        RunState {
            lint,
            lookup,
            sets: vec![set],
            includes: FxHashMap::default(),
            texts: FxHashMap::default(),
        }
    }
}

fn state<'a>(scope: &'a mut Scope<'_, '_>) -> Result<&'a mut RunState, FunctionError> {
    let host = scope.host.downcast_mut::<Host>();
    host.and_then(|host| host.state.downcast_mut::<RunState>())
        .ok_or_else(|| "this run is not a chart's".into())
}

/// All functions of a chart's templates.
pub(crate) fn all() -> Functions {
    let mut functions = Functions::builtins();
    sprig::register(&mut functions);
    for name in ["env", "expandenv"] {
        functions.remove(name);
    }
    semver::register(&mut functions);
    yaml::register(&mut functions);
    toml::register(&mut functions);
    let text_any = || Params::fixed(&[Type::Str, Type::Any]);
    functions.insert("include", Function::new(text_any(), include));
    functions.insert("tpl", Function::new(text_any(), tpl));
    functions.insert("required", Function::new(text_any(), required));
    functions.insert("fail", Function::new(Params::fixed(&[Type::Str]), fail));
    functions.insert("lookup", Function::new(Params::fixed(&[Type::Str; 4]), lookup));
    functions.reading(Reads::Nothing, &["include", "tpl", "required"]);
    functions.insert(
        "getHostByName",
        Function::new(Params::fixed(&[Type::Str]), address),
    );
    functions
}

fn text_at(values: &[Value], index: usize) -> &str {
    values.get(index).and_then(Value::as_str).unwrap_or_default()
}

fn rc_at(values: &[Value], index: usize) -> Rc<str> {
    match values.get(index) {
        Some(Value::Str(text)) => Rc::clone(text),
        _ => "".into(),
    }
}

/// Any address of a host, or nothing where names are not resolved.
fn address(scope: &mut Scope<'_, '_>, values: &[Value]) -> FunctionResult {
    let ambient = sprig::ambient(scope)?;
    let Some(mut all) = ambient.addresses(text_at(values, 0)) else {
        return Ok("".into());
    };
    // With no address there is nothing to choose from, in the reference's words.
    let last = all.len().checked_sub(1).ok_or("invalid argument to Intn")?;
    let mut random = [0; 1];
    ambient.random(&mut random);
    Ok(all.swap_remove(usize::from(random[0]) % (last + 1)).into())
}

fn include(scope: &mut Scope<'_, '_>, values: &[Value]) -> FunctionResult {
    let name = rc_at(values, 0);
    let state = state(scope)?;
    match state.includes.get_mut(&name) {
        Some(count) if *count > INCLUDE_LIMIT => {
            return Err(format!(
                "rendering template has a nested reference name: {name}: unable to execute template"
            )
            .into());
        }
        Some(count) => *count += 1,
        None => {
            state.includes.insert(Rc::clone(&name), 1);
        }
    }
    let result = if scope.set().contains(&name) {
        scope.execute(&name, &values[1])
    } else {
        Err(format!(
            "template: no template {} associated with template \"{TEXT_NAME}\"",
            quote(&name)
        )
        .into())
    };
    if let Some(count) = self::state(scope)?.includes.get_mut(&name) {
        *count -= 1;
    }
    result.map(Value::from)
}

fn tpl(scope: &mut Scope<'_, '_>, values: &[Value]) -> FunctionResult {
    let text = rc_at(values, 0);
    if !text.contains("{{") {
        return Ok(if text.contains("<no value>") {
            text.replace("<no value>", "").into()
        } else {
            Value::Str(text)
        });
    }
    let functions = Arc::clone(scope.set().functions());
    let state = state(scope)?;
    let parsed = match state.texts.get(&text) {
        Some(parsed) => parsed.clone(),
        None => {
            let parsed = functions
                .parse(TEXT_NAME, &text)
                .map_err(|error| format!("cannot parse template {}: {error}", quote(&text)))?;
            state.texts.insert(Rc::clone(&text), parsed.clone());
            parsed
        }
    };
    let parent = state.sets.last().ok_or("this run has no templates")?;
    let mut set = Set::layered(Arc::clone(parent));
    set.add_main_parsed(TEXT_NAME, &parsed);
    let set = Arc::new(set);
    state.sets.push(Arc::clone(&set));
    let result = scope.execute_in(&set, TEXT_NAME, &values[1]);
    self::state(scope)?.sets.pop();
    match result {
        Ok(out) if out.contains("<no value>") => Ok(out.replace("<no value>", "").into()),
        Ok(out) => Ok(out.into()),
        Err(error) => Err(format!(
            "error during tpl function execution for {}: {}",
            quote(&text),
            error.message
        )
        .into()),
    }
}

fn required(scope: &mut Scope<'_, '_>, values: &[Value]) -> FunctionResult {
    let value = &values[1];
    if !value.is_nil() && value.as_str() != Some("") {
        return Ok(value.clone());
    }
    if state(scope)?.lint {
        return Ok("".into());
    }
    Err(format!("{FAIL_START}{}{FAIL_END}", text_at(values, 0)).into())
}

fn fail(scope: &mut Scope<'_, '_>, values: &[Value]) -> FunctionResult {
    if state(scope)?.lint {
        return Ok("".into());
    }
    Err(format!("{FAIL_START}{}{FAIL_END}", text_at(values, 0)).into())
}

fn lookup(scope: &mut Scope<'_, '_>, values: &[Value]) -> FunctionResult {
    let state = state(scope)?;
    if state.lint {
        return Ok(Map::default().into());
    }
    let port = Arc::clone(&state.lookup);
    let found = port.lookup(
        text_at(values, 0),
        text_at(values, 1),
        text_at(values, 2),
        text_at(values, 3),
    )?;
    Ok(Value::from_json_with_ints(&found))
}
