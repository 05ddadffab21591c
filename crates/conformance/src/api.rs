//! Replays recorded exchanges with a real API server against ours, in the process.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fluvial_apiserver::api::Features;
use fluvial_apiserver::registry::services::Range;
use fluvial_apiserver::{ApiServer, Config, StaticTokens};
use http_body_util::{BodyExt, Full};
use serde_json::{Map, Value, json};
use tower::ServiceExt;

use crate::{Case, Suite};

mod compare;

use compare::{Bindings, compare};

const TOKENS: &str = "admin-token,admin,admin-uid,system:masters\nalice-token,alice,alice-uid,developers\n\
                      bob-token,bob,bob-uid,\"developers,ops\"\ncarol-token,carol,carol-uid\n";
/// How long an answer may take to become what is expected.
const EVENTUALLY: Duration = Duration::from_millis(8_000);

/// What came back.
#[derive(Debug, Default)]
pub(crate) struct Got {
    status: u16,
    headers: BTreeMap<String, Vec<String>>,
    body: Bytes,
}

/// The suites of the API server.
#[must_use]
pub fn suites() -> Vec<Suite> {
    vec![Suite {
        name: "api/records",
        needs: "corpus/api/records",
        run: records,
    }]
}

fn server() -> Option<ApiServer> {
    let config = Config {
        tokens: StaticTokens::parse(TOKENS).ok()?,
        features: Features {
            controllers: true,
            workloads: false,
        },
        range: Range::new(std::net::Ipv4Addr::new(10, 0, 0, 0), 24),
        ..Config::default()
    };
    ApiServer::new(config).ok()
}

/// All scenarios, one case for each step.
#[must_use]
pub fn records(shared: &Path) -> Vec<Case> {
    let mut files: Vec<_> = std::fs::read_dir(shared.join("corpus/api/records"))
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    files.sort();
    let Ok(runtime) = tokio::runtime::Runtime::new() else {
        return vec![Case {
            name: "runtime".into(),
            outcome: Err("no runtime".into()),
        }];
    };
    runtime.block_on(async {
        let mut running: Vec<(usize, tokio::task::JoinHandle<Vec<Case>>)> = vec![];
        let gate = Arc::new(tokio::sync::Semaphore::new(12));
        for (index, file) in files.iter().enumerate() {
            let Some(scenario) = std::fs::read(file)
                .ok()
                .and_then(|data| serde_json::from_slice(&data).ok())
            else {
                continue;
            };
            let gate = gate.clone();
            // Each scenario has a server of its own: they start in milliseconds.
            running.push((
                index,
                tokio::spawn(async move {
                    let _turn = gate.acquire_owned().await;
                    match server() {
                        Some(server) => run(&server, &scenario).await,
                        None => vec![],
                    }
                }),
            ));
        }
        let mut cases = vec![];
        for (index, task) in running {
            let name = files[index]
                .file_stem()
                .map(|stem| stem.to_string_lossy().into_owned())
                .unwrap_or_default();
            match task.await {
                Ok(done) => cases.extend(done),
                Err(error) => cases.push(Case {
                    name,
                    outcome: Err(error.to_string()),
                }),
            }
        }
        cases
    })
}

struct Watching {
    name: String,
    want: Value,
    task: tokio::task::JoinHandle<Got>,
}

async fn run(server: &ApiServer, scenario: &Value) -> Vec<Case> {
    let mut bindings = Bindings::default();
    let mut cases = vec![];
    let mut watches: Vec<Watching> = vec![];
    let name = scenario["name"].as_str().unwrap_or("");
    for (index, step) in scenario["steps"].as_array().into_iter().flatten().enumerate() {
        let case_name = format!("{name}#{index}");
        let flag = |field: &str| step[field] == true;
        let request = bindings.fill(&step["request"]);
        if flag("concurrent") {
            let (server, request) = (server.clone(), request.clone());
            let (started, ready) = tokio::sync::oneshot::channel();
            let task = tokio::spawn(async move { send(&server, &request, Some(started)).await });
            let _headers = ready.await;
            watches.push(Watching {
                name: case_name,
                want: step["response"].clone(),
                task,
            });
            continue;
        }
        let deadline = tokio::time::Instant::now() + EVENTUALLY;
        let outcome = loop {
            let got = send(server, &request, None).await;
            let mut trial = bindings.clone();
            let mut outcome = if flag("setup") && !flag("eventually") {
                let good = (200..300).contains(&got.status);
                // What can be compared binds names all the same.
                let _difference = compare(&mut trial, &step["response"], &got, flag("unordered"));
                if good {
                    Ok(())
                } else {
                    Err(format!(
                        "setup failed: {} {}",
                        got.status,
                        String::from_utf8_lossy(&got.body)
                    ))
                }
            } else {
                compare(&mut trial, &step["response"], &got, flag("unordered"))
            };
            let retry = outcome.is_err() && (flag("eventually") || index < 3 && flag("setup"));
            if retry && tokio::time::Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(15)).await;
                continue;
            }
            bindings = trial;
            if let Err(text) = &mut outcome {
                let request = &step["request"];
                let method = request["method"].as_str().unwrap_or("");
                *text = format!("{method} {}: {text}", request["path"].as_str().unwrap_or(""));
            }
            break outcome;
        };
        if !flag("setup") || outcome.is_err() {
            cases.push(Case {
                name: case_name,
                outcome,
            });
        } else {
            cases.push(Case {
                name: case_name,
                outcome: Ok(()),
            });
        }
    }
    for watch in watches {
        let outcome = match watch.task.await {
            Ok(got) => compare(&mut bindings, &watch.want, &got, false),
            Err(error) => Err(error.to_string()),
        };
        cases.push(Case {
            name: watch.name,
            outcome,
        });
    }
    cases
}

fn body_of(request: &Value) -> Vec<u8> {
    use base64::Engine as _;
    if let Some(text) = request["bodyText"].as_str() {
        return text.as_bytes().to_vec();
    }
    if let Some(text) = request["bodyBase64"].as_str() {
        return base64::engine::general_purpose::STANDARD
            .decode(text)
            .unwrap_or_default();
    }
    let generate = &request["generate"];
    if generate.is_object() {
        let count = usize::try_from(generate["count"].as_u64().unwrap_or(0)).unwrap_or(0);
        if generate["repeat"].is_null() {
            let fill = generate["char"].as_str().unwrap_or("x").repeat(count);
            return generate["template"]
                .to_string()
                .replace("@FILL@", &fill)
                .into_bytes();
        }
        let text = generate["repeat"].to_string();
        let all: Vec<String> = (0..count)
            .map(|index| text.replace("@I@", &index.to_string()))
            .collect();
        return format!("[{}]", all.join(",")).into_bytes();
    }
    match request.get("body") {
        Some(body) => spaced(body).into_bytes(),
        None => vec![],
    }
}

/// JSON as the recorder sent it, with a space behind each comma and colon: some answers quote bodies.
fn spaced(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let all: Vec<String> = items.iter().map(spaced).collect();
            format!("[{}]", all.join(", "))
        }
        Value::Object(map) => {
            let all: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{}: {}", Value::from(key.as_str()), spaced(value)))
                .collect();
            format!("{{{}}}", all.join(", "))
        }
        other => other.to_string(),
    }
}

fn encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn uri(request: &Value) -> String {
    let mut uri: String = request["path"].as_str().unwrap_or("/").to_owned();
    let mut pairs = vec![];
    for (name, value) in request["query"].as_object().into_iter().flatten() {
        let values = match value {
            Value::Array(values) => values.clone(),
            other => vec![other.clone()],
        };
        for value in values {
            pairs.push(format!(
                "{}={}",
                encode(name),
                encode(value.as_str().unwrap_or(""))
            ));
        }
    }
    if !pairs.is_empty() {
        uri = format!("{uri}?{}", pairs.join("&"));
    }
    uri
}

async fn send(server: &ApiServer, request: &Value, started: Option<tokio::sync::oneshot::Sender<()>>) -> Got {
    let mut builder = http::Request::builder()
        .method(request["method"].as_str().unwrap_or("GET"))
        .uri(uri(request))
        .header("user-agent", "apirecord/1.0");
    for (name, value) in request["headers"].as_object().into_iter().flatten() {
        let values = match value {
            Value::Array(values) => values.clone(),
            other => vec![other.clone()],
        };
        for value in values {
            builder = builder.header(name, value.as_str().unwrap_or(""));
        }
    }
    let token = match (request["bearer"].as_str(), request["as"].as_str()) {
        (Some(token), _) => Some(token.to_owned()),
        (_, Some("anonymous") | None) => None,
        (_, Some(user)) => Some(format!("{user}-token")),
    };
    if let Some(token) = token {
        builder = builder.header("authorization", format!("Bearer {token}"));
    }
    let request = match builder.body(Full::new(Bytes::from(body_of(request)))) {
        Ok(request) => request,
        Err(error) => {
            return Got {
                body: error.to_string().into(),
                ..Got::default()
            };
        }
    };
    let Ok(response) = server.service().oneshot(request).await;
    if let Some(started) = started {
        let _nobody = started.send(());
    }
    let (parts, body) = response.into_parts();
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in &parts.headers {
        headers
            .entry(name.as_str().to_owned())
            .or_default()
            .push(value.to_str().unwrap_or("").to_owned());
    }
    let Ok(body) = body.collect().await;
    Got {
        status: parts.status.as_u16(),
        headers,
        body: body.to_bytes(),
    }
}

/// Field names of two levels with types, as the corpus reduces some bodies.
pub(crate) fn reduced(shape: &str, value: &Value) -> Value {
    let kind = |value: &Value| {
        Value::from(match value {
            Value::Null => "NoneType",
            Value::Bool(_) => "bool",
            Value::Number(number) if number.is_f64() => "float",
            Value::Number(_) => "int",
            Value::String(_) => "str",
            Value::Array(_) => "list",
            Value::Object(_) => "dict",
        })
    };
    let map = |value: &Value, inner: &dyn Fn(&Value) -> Value| -> Value {
        match value {
            Value::Object(map) => map
                .iter()
                .map(|(key, value)| (key.clone(), inner(value)))
                .collect::<Map<_, _>>()
                .into(),
            other => kind(other),
        }
    };
    match shape {
        "top" => map(value, &kind),
        "keys_only" => map(value, &|value| map(value, &kind)),
        _ => value.clone(),
    }
}

/// Names that are known to be sets.
pub(crate) fn as_set(value: &Value) -> BTreeSet<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .map(Value::to_string)
        .collect()
}

/// A watch's text as its events.
pub(crate) fn events(body: &[u8]) -> Value {
    let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).unwrap_or(json!("no JSON")))
        .collect()
}
