//! Buckets of every kind of object store.

use serde_json::{Value, json};

use super::{Ports, Row, Stage, secret, stage, with};
use crate::counterparts::stand::Content;

const KIND: &str = "Bucket";
const FAILED: &str = "BucketOperationFailed";
const REFUSED: &str = "AuthenticationFailed";

fn fill(content: &Content) {
    content.put("/fleet/a.yaml", "a: 1\n");
    content.put("/fleet/docs/large.yaml", "x: 1\n".repeat(1000));
}

/// What holds of every store: `at` is the address at a port, `credentials` what those who ask want.
struct Store<'a> {
    at: &'a dyn Fn(&str, u16) -> Value,
    provider: &'a str,
    /// Secrets that are right, wrong, and without what they have to have.
    credentials: [&'a str; 3],
}

fn store_becomes_ready_follows_and_says_what_is_wrong(stage: &Stage, store: &Store<'_>, more: &[Row<'_>]) {
    let Stage {
        world,
        content,
        ports,
    } = stage;
    let [right, wrong, half] = store.credentials.map(|name| json!({"secretRef": secret(name)}));
    let at = |port: u16| (store.at)("127.0.0.1", port);
    let tls = with((store.at)("localhost", ports.tls), &json!({"insecure": false}));
    let base = with(
        at(ports.well),
        &json!({"bucketName": "fleet", "provider": store.provider, "insecure": true, "timeout": "3s"}),
    );
    let base = with(base, &right);
    world.source(KIND, "bucket", base.clone());
    world.source(KIND, "asking", with(base.clone(), &at(ports.asking)));
    let trusting = with(tls.clone(), &json!({"certSecretRef": secret("ca")}));
    world.source(KIND, "tls", with(base.clone(), &trusting));
    let first = world.ready(KIND, "bucket");
    for name in ["asking", "tls"] {
        assert_eq!(world.ready(KIND, name), first, "{name}");
    }
    let foreign = with(tls.clone(), &json!({"certSecretRef": secret("foreign")}));
    let absent = json!({"bucketName": "absent"});
    let slow = with(at(ports.endless), &json!({"timeout": "50s"}));
    let mut rows: Vec<Row<'_>> = vec![
        (
            "wrong",
            with(at(ports.asking), &wrong),
            FAILED,
            &["refused", "secret"],
        ),
        ("half", half, REFUSED, &["secret"]),
        (
            "lost",
            json!({"secretRef": secret("nobody")}),
            REFUSED,
            &["nobody"],
        ),
        ("untrusted", tls, FAILED, &["certSecretRef"]),
        ("foreign", foreign, FAILED, &["ca.crt"]),
        ("absent", absent, FAILED, &["'absent' not found"]),
        ("endless", slow, FAILED, &["100.0 MiB"]),
        ("cut", at(ports.cut), FAILED, &["broke off"]),
        ("silent", at(ports.silent), FAILED, &["in time"]),
    ];
    rows.extend_from_slice(more);
    stage.fail(KIND, &base, &rows);
    content.put("/fleet/new.yaml", "new: 1\n");
    world.follows(KIND, "bucket", &first);
}

#[test]
fn buckets_of_amazon_s_kind_say_what_is_wrong() {
    let stage = stage();
    let Stage {
        world,
        content,
        ports,
    } = &stage;
    fill(content);
    world.secret("s3", &[("accesskey", "ADA"), ("secretkey", "lovelace")]);
    world.secret("s3-wrong", &[("accesskey", "BYRON"), ("secretkey", "lovelace")]);
    world.secret("s3-half", &[("accesskey", "ADA")]);
    // A token service of the store's own.
    let keys = "<AssumeRoleWithLDAPIdentityResponse><AssumeRoleWithLDAPIdentityResult><Credentials><AccessKeyId>ADA\
                </AccessKeyId><SecretAccessKey>key</SecretAccessKey><SessionToken>session</SessionToken></Credentials>\
                </AssumeRoleWithLDAPIdentityResult></AssumeRoleWithLDAPIdentityResponse>";
    content.put("/sts", keys);
    let at = |host: &str, port: u16| json!({"endpoint": format!("{host}:{port}")});
    let sts = |port: u16, name: &str| {
        let endpoint = format!("http://127.0.0.1:{port}/{name}");
        with(
            at("127.0.0.1", ports.asking),
            &json!({"secretRef": null, "sts": {"provider": "ldap", "endpoint": endpoint, "secretRef": secret("right")}}),
        )
    };
    let base = json!({"bucketName": "fleet", "insecure": true});
    world.source(KIND, "temporary", with(base, &sts(ports.well, "sts")));
    world.ready(KIND, "temporary");
    let nobody = with(at("127.0.0.1", ports.asking), &json!({"secretRef": null}));
    store_becomes_ready_follows_and_says_what_is_wrong(
        &stage,
        &Store {
            at: &at,
            provider: "generic",
            credentials: ["s3", "s3-wrong", "s3-half"],
        },
        &[
            ("none", nobody, FAILED, &["refused", "secret"]),
            (
                "sts-refused",
                sts(ports.asking, "sts"),
                REFUSED,
                &["token service"],
            ),
            (
                "sts-lost",
                sts(ports.well, "nothing"),
                REFUSED,
                &["token service"],
            ),
        ],
    );
}

/// The key of an account whose tokens are made there.
fn account(ports: &Ports, tokens: &str) -> String {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let uri = format!("http://127.0.0.1:{}/{tokens}", ports.well);
    json!({"client_email": "ada@example.com", "private_key": key.serialize_pem(), "token_uri": uri})
        .to_string()
}

#[test]
fn buckets_of_google_say_what_is_wrong() {
    let stage = stage();
    let Stage {
        world,
        content,
        ports,
    } = &stage;
    fill(content);
    for name in ["lovelace", "byron"] {
        let token = json!({"access_token": name, "expires_in": 3600});
        content.put(&format!("/tokens/{name}"), token.to_string());
    }
    world.secret("gcs", &[("serviceaccount", &account(ports, "tokens/lovelace"))]);
    world.secret(
        "gcs-wrong",
        &[("serviceaccount", &account(ports, "tokens/byron"))],
    );
    world.secret(
        "gcs-half",
        &[("serviceaccount", "{\"client_email\":\"ada@example.com\"}")],
    );
    world.secret("gcs-other", &[("accesskey", "ADA")]);
    world.secret(
        "gcs-refused",
        &[("serviceaccount", &account(ports, "tokens/nobody"))],
    );
    store_becomes_ready_follows_and_says_what_is_wrong(
        &stage,
        &Store {
            at: &|host, port| json!({"endpoint": format!("{host}:{port}")}),
            provider: "gcp",
            credentials: ["gcs", "gcs-wrong", "gcs-half"],
        },
        &[
            (
                "other",
                json!({"secretRef": secret("gcs-other")}),
                REFUSED,
                &["serviceaccount"],
            ),
            (
                "refused",
                json!({"secretRef": secret("gcs-refused")}),
                REFUSED,
                &["token service"],
            ),
        ],
    );
}

#[test]
fn buckets_of_azure_say_what_is_wrong() {
    let stage = stage();
    let Stage {
        world,
        content,
        ports,
    } = &stage;
    fill(content);
    let token = json!({"access_token": "lovelace", "expires_in": 3600});
    content.put("/tenant/oauth2/v2.0/token", token.to_string());
    world.secret("sas", &[("sasKey", "?sig=lovelace&sp=rl")]);
    world.secret("sas-wrong", &[("sasKey", "?sig=byron&sp=rl")]);
    world.secret("half", &[("clientSecret", "lovelace")]);
    world.secret("key-wrong", &[("accountKey", "Ynlyb24=")]);
    world.secret("key-odd", &[("accountKey", "not base64!")]);
    let authority = format!("http://127.0.0.1:{}", ports.well);
    let application = |name: &str, tenant: &str| {
        let data = [
            ("tenantId", tenant),
            ("clientId", "client"),
            ("clientSecret", "lovelace"),
            ("authorityHost", &authority),
        ];
        world.secret(name, &data);
    };
    application("application", "tenant");
    application("application-lost", "nobody");
    let at = |host: &str, port: u16| {
        let scheme = if port == ports.tls { "https" } else { "http" };
        json!({"endpoint": format!("{scheme}://{host}:{port}/ada")})
    };
    let by = |name: &str| with(at("127.0.0.1", ports.asking), &json!({"secretRef": secret(name)}));
    let base = json!({"bucketName": "fleet", "provider": "azure", "insecure": true});
    world.source(KIND, "application", with(base, &by("application")));
    world.ready(KIND, "application");
    store_becomes_ready_follows_and_says_what_is_wrong(
        &stage,
        &Store {
            at: &at,
            provider: "azure",
            credentials: ["sas", "sas-wrong", "half"],
        },
        &[
            ("key-wrong", by("key-wrong"), FAILED, &["refused", "secret"]),
            ("key-odd", by("key-odd"), REFUSED, &["base64"]),
            ("lost-application", by("application-lost"), REFUSED, &["Entra"]),
        ],
    );
}
