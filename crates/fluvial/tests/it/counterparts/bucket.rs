//! An S3 server that checks signatures and rights: moto, in its own process.

use std::process::Command;

use serde_json::json;

use super::World;
use super::servers::{Server, broken, free_port, program, silent, start};

const KIND: &str = "Bucket";

struct Moto<'a> {
    world: &'a World,
    client: reqwest::Client,
    server: Server,
    /// The key that may read.
    key: (String, String),
}

/// The text of an XML element.
fn element(text: &str, name: &str) -> String {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let from = text.find(&open).unwrap() + open.len();
    let to = text.find(&close).unwrap();
    text[from..to].to_owned()
}

impl Moto<'_> {
    fn send(&self, request: reqwest::RequestBuilder, service: &str) -> String {
        // Before rights are asked for, a key's name is enough.
        let scope = format!("AKIATEST/20260101/us-east-1/{service}/aws4_request");
        let header = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=x");
        let request = request.header("authorization", header);
        self.world.runtime.block_on(async {
            let answer = request.send().await.unwrap();
            let status = answer.status();
            let text = answer.text().await.unwrap();
            assert!(status.is_success(), "{status}: {text}");
            text
        })
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.server.port)
    }

    fn put(&self, path: &str, data: impl Into<reqwest::Body>) {
        self.send(self.client.put(self.url(path)).body(data), "s3");
    }

    fn identity(&self, action: &str, more: &str) -> String {
        let body = format!("Action={action}&Version=2010-05-08&{more}");
        let kind = "application/x-www-form-urlencoded";
        let request = self
            .client
            .post(self.url("/"))
            .header("content-type", kind)
            .body(body);
        self.send(request, "iam")
    }

    /// Whether requests must be signed well, by somebody who may.
    fn ask_for_rights(&self, after: &str) {
        let request = self
            .client
            .post(self.url("/moto-api/reset-auth"))
            .body(after.to_owned());
        self.send(request, "s3");
    }
}

fn moto<'a>(world: &'a World, command: &mut Command, port: u16) -> Moto<'a> {
    let command = command.args(["-H", "127.0.0.1", "-p"]).arg(port.to_string());
    let mut moto = Moto {
        world,
        client: reqwest::Client::new(),
        server: start(command.env("INITIAL_NO_AUTH_ACTION_COUNT", "1000000"), port),
        key: Default::default(),
    };
    moto.identity("CreateUser", "UserName=reader");
    let policy = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C\
                  %22Action%22%3A%22s3%3A%2A%22%2C%22Resource%22%3A%22%2A%22%7D%5D%7D";
    moto.identity(
        "PutUserPolicy",
        &format!("UserName=reader&PolicyName=read&PolicyDocument={policy}"),
    );
    let key = moto.identity("CreateAccessKey", "UserName=reader");
    moto.key = (element(&key, "AccessKeyId"), element(&key, "SecretAccessKey"));
    moto
}

#[test]
#[ignore = "needs moto_server (pip install 'moto[server]'): cargo xtask tier counterparts"]
fn a_bucket_becomes_ready_follows_and_says_what_is_wrong() {
    let Some(program_moto) = program("bucket", "moto_server") else {
        return;
    };
    let world = World::new();
    let port = free_port();
    let moto = moto(&world, &mut Command::new(program_moto), port);
    moto.put("/fleet", "");
    moto.put("/fleet/.sourceignore", "*.md\n");
    moto.put("/fleet/README.md", "left out");
    moto.put("/fleet/apps/a-b_c.yaml", "a: 1\n");
    moto.put("/fleet/apps/", "");
    // moto checks no signature over a path with escapes as S3 does.
    moto.put("/fleet/infra/b.yaml", "b: 1\n");
    moto.put("/evil", "");
    moto.put("/evil/x/.git/config", "c: 1\n");
    for number in 0..1100 {
        moto.put(&format!("/fleet/many/{number}.yaml"), format!("n: {number}\n"));
    }
    moto.ask_for_rights("0");

    let (id, secret) = (moto.key.0.as_str(), moto.key.1.as_str());
    world.secret("right", &[("accesskey", id), ("secretkey", secret)]);
    world.secret("wrong", &[("accesskey", id), ("secretkey", "wrong")]);
    world.secret("stranger", &[("accesskey", "AKIANOBODY"), ("secretkey", "wrong")]);
    world.secret("half", &[("accesskey", id)]);
    let source = |name: &str, more: serde_json::Value| {
        let mut spec = json!({"bucketName": "fleet", "endpoint": format!("127.0.0.1:{port}"), "insecure": true,
            "timeout": "30s", "secretRef": {"name": "right"}});
        for (field, value) in more.as_object().unwrap() {
            spec[field] = value.clone();
        }
        world.source(KIND, name, spec);
    };
    source("bucket", json!({}));
    let first = world.ready(KIND, "bucket");
    assert!(first.starts_with("sha256:"), "{first}");
    source("bucket-part", json!({"prefix": "infra", "ignore": "*.txt\n"}));
    let part = world.ready(KIND, "bucket-part");
    assert_ne!(part, first);

    source("bucket-wrong", json!({"secretRef": {"name": "wrong"}}));
    world.fails(
        KIND,
        "bucket-wrong",
        "BucketOperationFailed",
        &["refused", "secret"],
    );
    source("bucket-stranger", json!({"secretRef": {"name": "stranger"}}));
    world.fails(
        KIND,
        "bucket-stranger",
        "BucketOperationFailed",
        &["refused", "secret"],
    );
    source("bucket-half", json!({"secretRef": {"name": "half"}}));
    world.fails(KIND, "bucket-half", "AuthenticationFailed", &["secretkey"]);
    source("bucket-absent", json!({"bucketName": "fleets"}));
    world.fails(
        KIND,
        "bucket-absent",
        "BucketOperationFailed",
        &["'fleets' not found"],
    );
    source(
        "bucket-scheme",
        json!({"endpoint": format!("http://127.0.0.1:{port}")}),
    );
    world.fails(KIND, "bucket-scheme", "URLInvalid", &["HOST[:PORT]"]);
    source("bucket-tls", json!({"insecure": false}));
    world.fails(KIND, "bucket-tls", "BucketOperationFailed", &[]);
    // What does not fit its provider is refused by the definition already.
    let sts = json!({"provider": "ldap", "endpoint": "https://sts.example.com"});
    source("bucket-sts", json!({"sts": sts, "secretRef": null}));
    world.fails(KIND, "bucket-sts", "AuthenticationFailed", &["'username'"]);
    let silent = format!("127.0.0.1:{}", silent());
    source("bucket-silent", json!({"endpoint": silent, "timeout": "2s"}));
    world.fails(KIND, "bucket-silent", "BucketOperationFailed", &["in time"]);
    let cut = format!("127.0.0.1:{}", broken("application/xml"));
    source("bucket-broken", json!({"endpoint": cut, "timeout": "5s"}));
    world.fails(KIND, "bucket-broken", "BucketOperationFailed", &[]);

    // Others may write again: a new object is followed.
    moto.ask_for_rights("1000000");
    moto.put("/fleet/apps/new.yaml", "new: 1\n");
    world.follows(KIND, "bucket", &first);
    assert_eq!(world.ready(KIND, "bucket-part"), part);
    source("bucket-evil", json!({"bucketName": "evil"}));
    world.fails(KIND, "bucket-evil", "BucketOperationFailed", &["Git"]);
}
