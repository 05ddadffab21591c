//! URLs and headers of API requests.

use fluvial_ports::{Resource, Select};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, Request};
use kube::client::Body;

const JSON: &str = "application/json";
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const DISCOVERY: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                         application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// Path of a collection, and of one object when `name` is not empty.
pub(crate) fn path(resource: &Resource, namespace: &str, name: &str, subresource: Option<&str>) -> String {
    let mut path = String::with_capacity(96);
    if resource.group.is_empty() {
        path.push_str("/api/");
    } else {
        path.push_str("/apis/");
        path.push_str(&resource.group);
        path.push('/');
    }
    path.push_str(&resource.version);
    if resource.namespaced && !namespace.is_empty() {
        path.push_str("/namespaces/");
        path.push_str(namespace);
    }
    path.push('/');
    path.push_str(&resource.plural);
    if !name.is_empty() {
        path.push('/');
        escape(&mut path, name);
    }
    if let Some(subresource) = subresource {
        path.push('/');
        path.push_str(subresource);
    }
    path
}

/// A URL with its query, built piece by piece.
pub(crate) struct Url {
    text: String,
    separator: char,
}

impl Url {
    pub(crate) fn new(path: String) -> Self {
        Self {
            text: path,
            separator: '?',
        }
    }

    pub(crate) fn with(mut self, key: &str, value: &str) -> Self {
        self.text.push(self.separator);
        self.separator = '&';
        self.text.push_str(key);
        self.text.push('=');
        escape(&mut self.text, value);
        self
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn selecting(self, select: &Select) -> Self {
        let url = match &select.labels {
            Some(labels) => self.with("labelSelector", labels),
            None => self,
        };
        match &select.fields {
            Some(fields) => url.with("fieldSelector", fields),
            None => url,
        }
    }
}

/// Percent-encodes all but the unreserved characters of a URL (names may hold `:` and `%`).
fn escape(out: &mut String, text: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// What the answer should look like.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    Whole,
    Metadata,
    MetadataList,
    /// All kinds of all groups at once.
    Discovery,
    /// Whatever there is.
    Any,
}

pub(crate) fn build(
    method: Method,
    url: Url,
    user: Option<&str>,
    form: Form,
    body: Option<(&'static str, Vec<u8>)>,
) -> Result<Request<Body>, http::Error> {
    let accept = match form {
        Form::Whole => JSON,
        Form::Metadata => METADATA,
        Form::MetadataList => METADATA_LIST,
        Form::Discovery => DISCOVERY,
        Form::Any => "*/*",
    };
    let mut request = Request::builder()
        .method(method)
        .uri(url.text)
        .header(ACCEPT, accept);
    if let Some(user) = user {
        request = request.header("impersonate-user", user);
    }
    match body {
        Some((content_type, bytes)) => request.header(CONTENT_TYPE, content_type).body(Body::from(bytes)),
        None => request.body(Body::empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(group: &str, namespaced: bool) -> Resource {
        Resource {
            group: group.to_owned(),
            version: "v1".to_owned(),
            kind: "Role".to_owned(),
            plural: "roles".to_owned(),
            namespaced,
        }
    }

    #[test]
    fn paths_follow_group_scope_and_subresource() {
        assert_eq!(
            path(&resource("", true), "a", "b", None),
            "/api/v1/namespaces/a/roles/b"
        );
        assert_eq!(
            path(&resource("g.io", false), "a", "b", Some("status")),
            "/apis/g.io/v1/roles/b/status"
        );
        assert_eq!(path(&resource("g.io", true), "", "", None), "/apis/g.io/v1/roles");
        assert_eq!(
            path(&resource("", true), "a", "x/y", None),
            "/api/v1/namespaces/a/roles/x%2Fy"
        );
    }

    #[test]
    fn selectors_are_encoded() {
        let select = Select {
            labels: Some("a in (b,c)".to_owned()),
            ..Select::default()
        };
        let url = Url::new("/x".to_owned()).with("watch", "1").selecting(&select);
        assert_eq!(url.text, "/x?watch=1&labelSelector=a%20in%20%28b%2Cc%29");
    }
}
