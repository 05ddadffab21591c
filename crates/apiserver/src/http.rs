//! HTTP: from a request to its answer.

pub mod authenticate;
pub mod body;
pub mod discovery;
pub mod health;
pub mod impersonate;
pub mod negotiate;
pub mod openapi;
pub mod openid;
pub mod protobuf;
pub mod response;
pub mod route;
pub mod shape;
pub mod table;
mod verb;

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response};
use http_body_util::{BodyExt, Limited};

use crate::api::Api;
use crate::auth::flows::Flow;
use crate::auth::{Attributes, User, rbac};
use crate::request::Request;
use crate::status::{Failure, Outcome};
use crate::verbs::{self, Reply};

use negotiate::{Accept, Format, Shape};
use response::Answer;
pub use response::Body;
use route::{Path, Query, Target};

/// Most bytes of a request's body.
const BODY_LIMIT: usize = 3 << 20;

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Answers a request.
pub async fn answer<B>(api: Arc<Api>, request: http::Request<B>) -> Response<Body>
where
    B: http_body::Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (parts, body) = request.into_parts();
    if !route::is_readable(parts.uri.path()) {
        return Answer::bytes(400, "400 Bad Request", "text/plain; charset=utf-8")
            .into_response(Format::Json);
    }
    let query = Query::parse(parts.uri.query().unwrap_or(""));
    let agent = header(&parts.headers, "user-agent").unwrap_or("");
    let accepted = negotiate::accept(header(&parts.headers, "accept"), &query, agent);
    let format = accepted.as_ref().map_or(Format::Json, |accept| accept.format);
    let mut call = Call {
        api,
        parts,
        query,
        accept: accepted,
        warnings: vec![],
        flow: None,
    };
    let result = call.run(body).await;
    let mut response = match result {
        Ok(answer) => {
            let response = answer.into_response(format);
            // Documents of OpenAPI 3 go out plain, whatever their size.
            let plain = call.parts.uri.path().starts_with("/openapi/v3");
            match negotiate::takes_gzip(header(&call.parts.headers, "accept-encoding")) && !plain {
                true => response::packed(response),
                false => response,
            }
        }
        Err(failure)
            if failure.code == 406 && negotiate::only_protobuf(header(&call.parts.headers, "accept")) =>
        {
            response::refused_protobuf()
        }
        Err(failure) => response::failure(&failure, format),
    };
    call.mark(response.headers_mut());
    if call.parts.method == Method::HEAD {
        let size = http_body::Body::size_hint(response.body()).exact();
        *response.body_mut() = Body::from(Bytes::new());
        if let Some(size) = size {
            response
                .headers_mut()
                .insert(http::header::CONTENT_LENGTH, size.into());
        }
    }
    response
}

struct Call {
    api: Arc<Api>,
    parts: Parts,
    query: Query,
    accept: Outcome<Accept>,
    warnings: Vec<String>,
    flow: Option<Flow>,
}

impl Call {
    /// What an answer says of its request: warnings, the flow that it belongs to, and under which name it is known.
    fn mark(&self, headers: &mut HeaderMap) {
        for warning in &self.warnings {
            let text = format!("299 - \"{}\"", warning.replace('\\', "\\\\").replace('"', "\\\""));
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.append("warning", value);
            }
        }
        if let Some(flow) = &self.flow {
            headers.insert("x-kubernetes-pf-flowschema-uid", flow.schema.clone());
            headers.insert("x-kubernetes-pf-prioritylevel-uid", flow.level.clone());
        }
        let audit = match header(&self.parts.headers, "audit-id") {
            Some(given) if !given.is_empty() => HeaderValue::from_str(given),
            _ => HeaderValue::from_str(&crate::api::new_uid()),
        };
        if let Ok(audit) = audit {
            headers.insert("audit-id", audit);
        }
    }

    async fn run<B>(&mut self, body: B) -> Outcome<Answer>
    where
        B: http_body::Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let user = authenticate::user(&self.api, &self.parts)?;
        let path = self.parts.uri.path().to_owned();
        let place = route::parse(&path);
        self.flow = self.flow_of(&user, &path, &place);
        match place {
            Path::Resource(target) => self.resource(user, target, body).await,
            Path::Discovery(core, rest) => {
                self.allow_path(&user, &path)?;
                if !core
                    && let [group, version] = rest.as_slice()
                    && crate::controllers::aggregation::is_remote(&self.api, group, version)
                {
                    return Err(Failure::unavailable());
                }
                // The root answers whatever is done to it.
                if core || !rest.is_empty() {
                    let kinds = self.api.kinds();
                    let known = |group: &String| kinds.order.iter().any(|(own, _)| own == group);
                    if !core && !rest.first().is_some_and(known) {
                        return Err(Failure::no_page());
                    }
                    self.get_only()?;
                }
                let accept = self.accept.clone()?;
                if matches!(
                    accept.shape,
                    Shape::Table(_) | Shape::Partial(_) | Shape::PartialList(_)
                ) {
                    return Err(negotiate::other_media_only());
                }
                discovery::answer(&self.api, core, &rest, &accept, &self.parts.headers)
            }
            Path::Other => {
                self.allow_path(&user, &path)?;
                self.other(&path)
            }
        }
    }

    fn get_only(&self) -> Outcome<()> {
        if self.parts.method == Method::GET {
            Ok(())
        } else {
            Err(Failure::method_not_allowed())
        }
    }

    /// What a request of no resource does.
    fn plain_verb(&self) -> &'static str {
        match self.parts.method {
            Method::POST => "post",
            Method::PUT => "put",
            Method::DELETE => "delete",
            Method::PATCH => "patch",
            Method::HEAD => "head",
            Method::OPTIONS => "options",
            _ => "get",
        }
    }

    fn flow_of(&self, user: &User, path: &str, parsed: &Path) -> Option<Flow> {
        let wanted = match parsed {
            Path::Resource(target) => Attributes {
                verb: verb::of(&self.parts, &self.query, target),
                group: &target.group,
                resource: &target.resource,
                subresource: &target.subresource,
                namespace: &target.namespace,
                name: &target.name,
                path: "",
            },
            _ => Attributes {
                verb: self.plain_verb(),
                path,
                ..Attributes::default()
            },
        };
        self.api.flows.of(&self.api.store, user, &wanted)
    }

    fn allow_path(&self, user: &User, path: &str) -> Outcome<()> {
        let wanted = Attributes {
            verb: self.plain_verb(),
            path,
            ..Attributes::default()
        };
        if rbac::authorize(&self.api, user, &wanted).allowed {
            return Ok(());
        }
        let text = format!("forbidden: {}", wanted.refusal(user));
        Err(Failure::new(403, "Forbidden", text).with_details(serde_json::json!({})))
    }

    fn other(&self, path: &str) -> Outcome<Answer> {
        if matches!(path, "/" | "/index.html") {
            return Ok(Answer::json(200, &discovery::root(&self.api)));
        }
        if let Some(answer) = openapi::answer(&self.api, path, &self.query, &self.parts.headers) {
            if path != "/openapi/v2" {
                self.get_only()?;
            }
            return answer;
        }
        if let Some(answer) = openid::answer(&self.api, path, &self.parts) {
            self.get_only()?;
            return Ok(answer);
        }
        if let Some(answer) = health::answer(&self.api, path, &self.query) {
            if path == "/version" {
                self.get_only()?;
            }
            return Ok(answer);
        }
        Err(Failure::no_page())
    }

    /// How long a client would wait has to be a duration.
    fn check_timeout(&self, verb: &str) -> Outcome<()> {
        let text = self.query.text("timeout");
        if text.is_empty() || verb == "watch" {
            return Ok(());
        }
        match fluvial_object::duration::parse_go(text) {
            Ok(_) => Ok(()),
            Err(error) => Err(Failure::bad_request(format!(
                "invalid timeout specified in the request URL - {error}"
            ))),
        }
    }

    fn authorize(&self, user: &User, target: &Target, verb: &str) -> Outcome<()> {
        // Who lists or watches one name asks for that name.
        let selected = if target.name.is_empty() && matches!(verb, "list" | "watch") {
            self.query
                .text("fieldSelector")
                .split(',')
                .find_map(|term| term.strip_prefix("metadata.name="))
                .map(|name| name.trim_start_matches('='))
                .unwrap_or("")
        } else {
            ""
        };
        let name = if selected.is_empty() {
            &target.name
        } else {
            selected
        };
        let wanted = Attributes {
            verb,
            group: &target.group,
            resource: &target.resource,
            subresource: &target.subresource,
            namespace: &target.namespace,
            name,
            path: "",
        };
        if rbac::authorize(&self.api, user, &wanted).allowed {
            return Ok(());
        }
        Err(Failure::forbidden(
            &target.group,
            &target.resource,
            name,
            &wanted.refusal(user),
        ))
    }

    /// Nothing is served under this name: a group of the server's own says so for versions that it has not, too.
    fn unserved(&self, target: &Target) -> Failure {
        if crate::controllers::aggregation::is_remote(&self.api, &target.group, &target.version) {
            return Failure::unavailable();
        }
        let kinds = self.api.kinds();
        let group = kinds.group(&target.group).unwrap_or_default();
        let mut known = group.iter().flat_map(|(_, kinds)| kinds).peekable();
        if known.peek().is_some() && known.all(|kind| kind.custom.is_none()) {
            Failure::no_resource()
        } else {
            Failure::no_page()
        }
    }

    async fn resource<B>(&mut self, user: User, target: Target, body: B) -> Outcome<Answer>
    where
        B: http_body::Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let verb = verb::of(&self.parts, &self.query, &target);
        self.authorize(&user, &target, verb)?;
        let kinds = self.api.kinds();
        let Some(kind) = kinds
            .find(&target.group, &target.version, &target.resource)
            .cloned()
        else {
            return Err(self.unserved(&target));
        };
        let misplaced = (!kind.namespaced && !target.namespace.is_empty() && kind.plural != "namespaces")
            || (kind.namespaced && target.namespace.is_empty() && !target.name.is_empty());
        if misplaced {
            return Err(if kind.custom.is_some() {
                Failure::no_page()
            } else {
                Failure::no_resource()
            });
        }
        let mut accept = self.accept.clone();
        let only_protobuf =
            || kind.custom.is_some() && negotiate::only_protobuf(header(&self.parts.headers, "accept"));
        if verb == "watch" && accept.is_err() && !only_protobuf() {
            accept = Ok(Accept::default());
        }
        self.check_timeout(verb)?;
        let mut accept = accept.map_err(|mut failure| {
            if kind.custom.is_none() && verb == "list" {
                negotiate::name_streams(&mut failure);
            }
            failure
        })?;
        // Versions of definitions are told from even where there is nothing to be found.
        let warning = kind.custom.as_ref().and_then(|custom| custom.warning.clone());
        self.warnings.extend(warning);
        verb::check(&kind, &target, verb)?;
        if matches!(accept.shape, Shape::Table(_)) && !table::is_shown(&kind, &target.subresource) {
            let agent = header(&self.parts.headers, "user-agent").unwrap_or("");
            accept = negotiate::without_tables(header(&self.parts.headers, "accept"), &self.query, agent)?;
        }
        let limited = Limited::new(body, BODY_LIMIT);
        let body = match limited.collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                let text = format!("Request entity too large: limit is {BODY_LIMIT}");
                return Err(Failure::new(413, "RequestEntityTooLarge", text));
            }
            Err(_) => return Err(Failure::bad_request("unexpected EOF")),
        };
        let mut content_type = header(&self.parts.headers, "content-type").map(str::to_owned);
        let body = match unpacked(&self.api, &kind, content_type.as_deref(), &body)? {
            Some(json) => {
                content_type = Some("application/json".to_owned());
                json
            }
            None => body,
        };
        let mut request = Request {
            user,
            kind,
            target,
            query: std::mem::take(&mut self.query),
            accept,
            content_type,
            user_agent: header(&self.parts.headers, "user-agent").unwrap_or("").to_owned(),
            body,
            dry_run: false,
            validation: crate::request::FieldValidation::default(),
            warnings: std::sync::Mutex::default(),
            calls: crate::admission::webhooks::Calls::enabled(),
        };
        let (result, _attended) = loop {
            let attended = self.api.store.attend();
            let result = dispatch(&self.api, &mut request, verb)
                .and_then(|reply| response::shaped(&self.api, &request, reply));
            self.warnings = request.take_warnings();
            // A webhook has to be asked first: the work is done again with its answer.
            match request.calls.pending() {
                Some((key, call)) => {
                    drop(attended);
                    let answer = call.send().await;
                    request.calls.answered(key, answer);
                }
                None => break (result, attended),
            }
        };
        // What a crash could take back is told to nobody, not to readers either; a watch sees to its own events.
        if verb != "watch" {
            self.api.store.settled().await.map_err(Failure::internal)?;
        }
        result
    }
}

/// The JSON of a protobuf body for a built-in kind; None if the body is none.
fn unpacked(
    api: &Api,
    kind: &crate::kinds::Kind,
    content_type: Option<&str>,
    body: &Bytes,
) -> Outcome<Option<Bytes>> {
    let given = negotiate::media_type(content_type) == "application/vnd.kubernetes.protobuf";
    if !given || kind.custom.is_some() || !body.starts_with(protobuf::MAGIC) {
        return Ok(None);
    }
    match protobuf::to_json(&api.schemas, body) {
        Ok(value) => Ok(Some(value.to_string().into())),
        Err(why) => Err(verbs::decode::unrecognized(&kind.kind, &why, body)),
    }
}

fn dispatch(api: &Arc<Api>, request: &mut Request, verb: &str) -> Outcome<Reply> {
    crate::admission::deprecations(request);
    verb::named(&request.target.name)?;
    let scale = request.target.subresource == "scale";
    match verb {
        "get" if scale => verbs::special::scale::get(api, request),
        "get"
            if matches!(
                request.target.subresource.as_str(),
                "" | "status" | "approval" | "ephemeralcontainers" | "resize"
            ) =>
        {
            verbs::read::get(api, request)
        }
        "get" | "update" | "patch" | "delete" if verbs::special::connect::is(&request.target.subresource) => {
            verbs::special::connect::open(api, request)
        }
        "list" => verbs::read::list(api, request),
        "watch" => verbs::watch::open(api, request),
        "create" if request.target.subresource.is_empty() => verbs::create::create(api, request),
        "create" => verbs::special::post(api, request),
        "update" if scale => verbs::special::scale::put(api, request, false),
        "update" => verbs::update::update(api, request),
        "patch" if scale => verbs::special::scale::put(api, request, true),
        "patch" => verbs::patch::patch(api, request),
        "delete" => verbs::delete::delete(api, request),
        "deletecollection" => verbs::delete::collection(api, request),
        _ => Err(Failure::method_not_allowed()),
    }
}

/// Whether a shape is one of single objects or lists at all.
#[must_use]
pub fn is_plain(accept: &Accept) -> bool {
    accept.shape == Shape::Object
}
