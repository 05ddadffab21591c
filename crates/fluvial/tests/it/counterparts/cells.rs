//! Each kind of source against stand-ins that are well, refuse, are not trusted, lack something, send too much, break off, or
//! keep silent: what the status says. `docs/sources.md` has the table of what is said.

mod git;
mod helm;
mod oci;
mod stores;
mod trees;

use serde_json::{Value, json};

use super::World;
use super::servers::authority;
use super::stand::{Content, Mood};

/// The stand-ins of a test, by mood.
struct Ports {
    well: u16,
    asking: u16,
    cut: u16,
    endless: u16,
    silent: u16,
    tls: u16,
}

struct Stage {
    world: World,
    content: Content,
    ports: Ports,
}

/// The program, stand-ins, and the Secrets `right`, `wrong`, `ca` and `foreign`.
fn stage() -> Stage {
    let (world, content) = (World::new(), Content::default());
    let (trust, foreign) = (authority(), authority());
    let ports = world.runtime.block_on(async {
        Ports {
            well: content.serve(Mood::Well).await,
            asking: content.serve(Mood::Asking).await,
            cut: content.serve(Mood::Cut).await,
            endless: content.serve(Mood::Endless).await,
            silent: content.serve(Mood::Silent).await,
            tls: content.serve_tls(&trust.server).await,
        }
    });
    world.secret("right", &[("username", "ada"), ("password", "lovelace")]);
    world.secret("wrong", &[("username", "ada"), ("password", "byron")]);
    world.secret("ca", &[("ca.crt", &trust.ca)]);
    world.secret("foreign", &[("ca.crt", &foreign.ca)]);
    Stage {
        world,
        content,
        ports,
    }
}

/// `spec` with these fields too.
fn with(mut spec: Value, more: &Value) -> Value {
    for (field, value) in more.as_object().unwrap() {
        spec[field] = value.clone();
    }
    spec
}

/// What a source is called, what makes it fail, for which reason, and with which words.
type Row<'a> = (&'a str, Value, &'a str, &'a [&'a str]);

impl Stage {
    fn fail(&self, kind: &str, base: &Value, rows: &[Row<'_>]) {
        for (name, more, ..) in rows {
            self.world.source(kind, name, with(base.clone(), more));
        }
        let wrong = rows
            .iter()
            .filter_map(|(name, _, reason, words)| self.world.wrong(kind, name, reason, words));
        let wrong: Vec<String> = wrong.collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

fn secret(name: &str) -> Value {
    json!({ "name": name })
}
