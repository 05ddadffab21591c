//! `create alert`, `create alert-provider` and `create receiver`.

use serde_json::{Value, json};

use super::{Call, Spec, Story, demand, given, parse};
use crate::environment::{Failure, Outcome};
use crate::nouns::Noun;
use crate::state::{self, text};

/// Options of `create alert`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Alert {
    /// Name of the Provider
    #[arg(long, value_name = "NAME")]
    provider_ref: Option<String>,
    /// Least severity: info or error
    #[arg(long, value_name = "SEVERITY")]
    event_severity: Option<String>,
    /// Objects whose events are told: KIND/NAME[.NAMESPACE]; * stands for all names
    #[arg(long, value_name = "OBJECTS", value_delimiter = ',')]
    event_source: Vec<String>,
}

/// Options of `create alert-provider`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Provider {
    /// Kind of service, such as slack or github
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Channel
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
    /// Name under which is posted
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// Address
    #[arg(long, value_name = "URL")]
    address: Option<String>,
    /// Secret with address or token
    #[arg(long, value_name = "NAME")]
    secret_ref: Option<String>,
}

/// Options of `create receiver`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Receiver {
    /// Kind of service that calls
    #[arg(long = "type", value_name = "TYPE", value_parser = receiver_type)]
    kind: Option<String>,
    /// Secret with the token
    #[arg(long, value_name = "NAME")]
    secret_ref: Option<String>,
    /// Events that count
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    event: Vec<String>,
    /// Objects that are reconciled then: KIND/NAME
    #[arg(long, value_name = "OBJECTS", value_delimiter = ',')]
    resource: Vec<String>,
}

/// What a receiver may be for.
pub(super) fn receiver_type(text: &str) -> Result<String, String> {
    const TYPES: [&str; 12] = [
        "generic",
        "generic-hmac",
        "github",
        "gitlab",
        "bitbucket",
        "harbor",
        "dockerhub",
        "quay",
        "gcr",
        "nexus",
        "acr",
        "cdevents",
    ];
    parse::one_of(text, &TYPES, "receiver type")
}

fn ready(noun: &Noun, object: &Value) -> Vec<String> {
    let mut lines = vec![format!("{} {} is ready", noun.kind, state::name(object))];
    if let Some(path) = text(object, &["status", "webhookPath"]) {
        lines.push(format!("generated webhook URL {path}"));
    }
    lines
}

fn story(kind: &'static str) -> Story {
    Story {
        generated: kind,
        applied: kind,
        created: kind,
        end: ready,
    }
}

fn wrong(text: &str) -> Failure {
    Failure::new(format!(
        "invalid event source '{text}', must be in format <kind>/<name>"
    ))
}

/// Creates an Alert.
pub(super) async fn alert(call: &mut Call<'_, '_>, options: &Alert) -> Outcome {
    demand(given(options.provider_ref.as_ref()), "provider ref is required")?;
    let sources: Vec<Value> = options
        .event_source
        .iter()
        .map(|source| {
            let named = parse::reference(source);
            if named.kind.is_empty() {
                return Err(wrong(source));
            }
            let mut value = Spec::default();
            value
                .put("kind", named.kind)
                .put("name", named.name)
                .text("namespace", Some(&named.namespace));
            Ok(value.value())
        })
        .collect::<Result<_, _>>()?;
    demand(!sources.is_empty(), "at least one event source is required")?;
    let mut spec = Spec::default();
    spec.name("providerRef", options.provider_ref.as_deref())
        .text("eventSeverity", options.event_severity.as_deref())
        .put("eventSources", sources);
    call.finish("Alert", spec.value(), story("Alert")).await
}

/// Creates a Provider.
pub(super) async fn provider(call: &mut Call<'_, '_>, options: &Provider) -> Outcome {
    demand(given(options.kind.as_ref()), "Provider type is required")?;
    let mut spec = Spec::default();
    spec.text("type", options.kind.as_deref())
        .text("channel", options.channel.as_deref())
        .text("username", options.username.as_deref())
        .text("address", options.address.as_deref())
        .name("secretRef", options.secret_ref.as_deref());
    call.finish("Provider", spec.value(), story("Provider")).await
}

/// Creates a Receiver.
pub(super) async fn receiver(call: &mut Call<'_, '_>, options: &Receiver) -> Outcome {
    demand(given(options.kind.as_ref()), "Receiver type is required")?;
    demand(given(options.secret_ref.as_ref()), "secret ref is required")?;
    let resources: Vec<Value> = options
        .resource
        .iter()
        .map(|resource| {
            let named = parse::kind_and_name(resource);
            if named.kind.is_empty() {
                return Err(wrong(resource));
            }
            Ok(json!({"kind": named.kind, "name": named.name}))
        })
        .collect::<Result<_, _>>()?;
    demand(!resources.is_empty(), "at least one resource is required")?;
    let mut spec = Spec::default();
    spec.text("type", options.kind.as_deref())
        .name("secretRef", options.secret_ref.as_deref())
        .put("resources", resources);
    if !options.event.is_empty() {
        spec.put("events", options.event.clone());
    }
    call.finish("Receiver", spec.value(), story("Receiver")).await
}
