//! `notification.toolkit.fluxcd.io`: events out, webhooks in.

use crate::Duration;
use crate::meta::{Condition, LocalReference, Strings};

words! {
    /// From which severity on.
    Severity {
        /// All.
        Info = "info",
        /// Errors only.
        Error = "error",
    }
}

record! {
    /// Objects by kind and name.
    ObjectReference {
        required {
            /// Kind.
            kind: String,
            /// Name, or `*`.
            name: String,
        }
        optional {
            /// API version.
            api_version: Option<String>,
            /// Namespace; the referrer's if absent.
            namespace: Option<String>,
            /// Labels that must be equal, with name `*`.
            match_labels: Strings,
            /// CEL that must hold (receivers only).
            filter: Option<String>,
        }
    }
}

record! {
    /// What is wanted of an Alert.
    AlertSpec {
        required {
            /// Where it goes.
            provider_ref: LocalReference,
            /// Whose events.
            event_sources: Vec<ObjectReference>,
        }
        optional {
            /// From which severity on.
            event_severity: Severity,
            /// Metadata added to events.
            event_metadata: Strings,
            /// Regular expressions, one of which must match.
            inclusion_list: Vec<String>,
            /// Regular expressions, none of which may match.
            exclusion_list: Vec<String>,
            /// A remark (older form of metadata).
            summary: Option<String>,
            /// Whether it rests.
            suspend: bool,
        }
    }
}

record! {
    /// Alerts and providers have no status.
    NoStatus { }
}

resource! {
    /// Whose events go where.
    Alert {
        spec: AlertSpec, status: NoStatus,
        group: "notification.toolkit.fluxcd.io", version: "v1beta3", plural: "alerts"
    }
}

record! {
    /// What is wanted of a Provider.
    ProviderSpec {
        required {
            /// Kind of service.
            r#type: String,
        }
        optional {
            /// Accepted and without effect.
            interval: Option<Duration>,
            /// Channel.
            channel: Option<String>,
            /// Name to appear under.
            username: Option<String>,
            /// Address.
            address: Option<String>,
            /// How long one request may take.
            timeout: Option<Duration>,
            /// Proxy's address.
            proxy: Option<String>,
            /// Secret with the proxy's address.
            proxy_secret_ref: Option<LocalReference>,
            /// Secret with address and token.
            secret_ref: Option<LocalReference>,
            /// Secret with certificates.
            cert_secret_ref: Option<LocalReference>,
            /// Identity for cloud providers.
            service_account_name: Option<String>,
            /// CEL that gives the id of a commit status.
            commit_status_expr: Option<String>,
            /// Whether it rests.
            suspend: bool,
        }
    }
}

resource! {
    /// A service that events are sent to.
    Provider {
        spec: ProviderSpec, status: NoStatus,
        group: "notification.toolkit.fluxcd.io", version: "v1beta3", plural: "providers"
    }
}

record! {
    /// A named CEL expression.
    OidcVariable {
        required {
            /// Name.
            name: String,
            /// Expression.
            expression: String,
        }
    }
}

record! {
    /// A CEL expression that must hold.
    OidcValidation {
        required {
            /// Expression.
            expression: String,
            /// What is said if it does not.
            message: String,
        }
    }
}

record! {
    /// An issuer of tokens that is trusted.
    OidcProvider {
        required {
            /// Its address.
            #[serde(rename = "issuerURL")]
            issuer_url: String,
            /// What must hold of the claims.
            validations: Vec<OidcValidation>,
        }
        optional {
            /// Audience.
            audience: Option<String>,
            /// Variables of the validations.
            variables: Vec<OidcVariable>,
        }
    }
}

record! {
    /// What is wanted of a Receiver.
    ReceiverSpec {
        required {
            /// Kind of sender.
            r#type: String,
            /// What is reconciled.
            resources: Vec<ObjectReference>,
        }
        optional {
            /// Which events count.
            events: Vec<String>,
            /// CEL that must hold of a resource.
            resource_filter: Option<String>,
            /// Secret with the token.
            secret_ref: Option<LocalReference>,
            /// Issuers of tokens.
            oidc_providers: Vec<OidcProvider>,
            /// How often it is reconciled.
            interval: Option<Duration>,
            /// Whether it rests.
            suspend: bool,
        }
    }
}

record! {
    /// What was observed of a Receiver.
    ReceiverStatus {
        optional {
            /// Generation that was handled last.
            observed_generation: i64,
            /// Conditions.
            conditions: Vec<Condition>,
            /// Path of the webhook.
            webhook_path: Option<String>,
            /// Token of the last handled request.
            last_handled_reconcile_at: Option<String>,
        }
    }
}

resource! {
    /// A webhook that makes resources reconcile.
    Receiver {
        spec: ReceiverSpec, status: ReceiverStatus,
        group: "notification.toolkit.fluxcd.io", version: "v1", plural: "receivers"
    }
}
