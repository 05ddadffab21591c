//! Repositories of servers: ask for the references, and fetch into the object cache what is new.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gix::ObjectId;
use gix::bstr::{BString, ByteSlice};
use gix::protocol::handshake::Ref;
use gix::protocol::transport::Protocol;
use gix::protocol::transport::client::blocking_io::Transport as AnyTransport;
use gix::protocol::transport::client::blocking_io::http::Transport;
use gix::remote::fetch::{Prepare, Shallow, Tags};

use super::Fetched;
use super::cache::{Caches, Turn, short_digest};
use super::http::GitHttp;
use super::local::{self, Repo, Resolved};
use super::reference::{self, Target};
use super::source::{GitSource, Job, is_last};
use super::ssh;
use super::url::redact;
use super::wire::{Failure, Outcome, Wire};
use crate::error::{SourceError, reason};
use crate::http::{HttpClients, connect_advice};
use crate::limits::human;

/// The caches of all servers' repositories.
#[derive(Debug)]
pub(crate) struct Remotes {
    caches: Caches,
    clients: HttpClients,
}

/// The error of a fetch that takes too long.
pub(crate) fn timed_out(url: &str, timeout: Duration) -> SourceError {
    SourceError::retry(
        reason::GIT_OPERATION_FAILED,
        format!(
            "fetching '{url}' took longer than {timeout:?}; check that the server answers, or raise spec.timeout"
        ),
    )
}

/// One fetch under way.
struct Session<'a> {
    remotes: &'a Remotes,
    job: &'a Job<'a>,
    url: &'a str,
    shown: String,
    turn: Turn<'a>,
}

/// References asked for, nothing fetched yet.
struct Asked<'repo> {
    prepare: Prepare<'static, 'repo, Box<dyn AnyTransport + Send>>,
    outcome: Arc<Outcome>,
}

impl Remotes {
    pub(crate) fn new(root: PathBuf) -> Self {
        Remotes {
            caches: Caches::new(root),
            clients: HttpClients::default(),
        }
    }

    pub(crate) fn fetch(
        &self,
        source: &GitSource,
        job: &Job<'_>,
        url: &str,
        target: &Target,
    ) -> Result<Fetched, SourceError> {
        if let Target::Commit { id, .. } = target
            && is_last(job.request, &reference::revision(target.label(), id))
        {
            return Ok(Fetched::Unchanged);
        }
        let shown = redact(url);
        self.caches.sweep_sometimes();
        let store = self.caches.store(&shown);
        let turn = store.enter(job.deadline)?;
        let session = Session {
            remotes: self,
            job,
            url,
            turn: turn.ok_or_else(|| timed_out(&shown, job.timeout()))?,
            shown,
        };
        let repo = session.turn.repo(None)?;
        let result = session.run(source, &repo, target);
        match result {
            // The cache lacks something that it should hold: fetch it all once more.
            Err(error)
                if error.reason == reason::INVALID_GIT_OBJECT && error.class == crate::Class::Retry =>
            {
                let repo = session.turn.renew(None)?;
                session.run(source, &repo, target)
            }
            result => result,
        }
    }
}

impl Session<'_> {
    fn run(&self, source: &GitSource, repo: &Arc<Repo>, target: &Target) -> Result<Fetched, SourceError> {
        let mut repo = Arc::clone(repo);
        let found = loop {
            let handle = repo.handle();
            let step = match target {
                Target::Commit { id, .. } => self.commit(&handle, *id, target)?,
                Target::Semver(range) => self.newest(&handle, range, target)?,
                Target::Name(_) | Target::Tag(_) | Target::Branch(_) => {
                    let name = target.full_name().unwrap_or_default();
                    self.single(&handle, &name, target.label(), target)?
                }
            };
            match step {
                Step::Unchanged => return Ok(Fetched::Unchanged),
                Step::OtherHash(hash) => repo = self.turn.renew(Some(hash))?,
                Step::Worn => repo = self.turn.renew(Some(handle.object_hash()))?,
                Step::Found(resolved) => break resolved,
            }
        };
        let handle = repo.handle();
        source.finish(self.job, &repo, &handle, &found, &self.shown)
    }

    /// Asks the server for the references that the specs name.
    fn ask<'repo>(
        &self,
        handle: &'repo gix::Repository,
        specs: &[String],
    ) -> Result<Asked<'repo>, SourceError> {
        let wire = Arc::new(Wire::new(
            self.job.deadline,
            Arc::clone(self.job.cancelled),
            self.job.limits.download,
        )?);
        let outcome = Arc::clone(&wire.outcome);
        let credentials = &self.job.request.credentials;
        let fail = |error: &gix::Error| self.explain(error, &outcome);
        let parse = |url: &str| gix::url::parse(url).map_err(|error| fail(&error));
        let (transport, url): (Box<dyn AnyTransport + Send>, _) = if self.url.starts_with("ssh:") {
            let transport = ssh::connect(
                self.url,
                credentials.ssh.as_ref(),
                credentials.proxy.as_ref(),
                wire,
            )?;
            (transport, parse(&self.shown)?)
        } else {
            let http = GitHttp::new(&self.remotes.clients, self.url, credentials, wire)?;
            let url = parse(http.plain_url())?;
            let transport = Transport::new_http(http, url.clone(), Protocol::V2, false);
            (Box::new(transport), url)
        };
        let remote = handle
            .remote_at_without_url_rewrite(url)
            .map_err(|error| fail(&error))?
            .with_fetch_tags(Tags::None)
            .with_refspecs(
                specs.iter().map(|spec| BString::from(spec.as_str())),
                gix::remote::Direction::Fetch,
            )
            .map_err(|error| fail(&error))?;
        let options = gix::remote::ref_map::Options {
            // A pattern over everything makes a filter that some servers answer with nothing.
            prefix_from_spec_as_filter_on_remote: !specs.iter().any(|spec| spec.starts_with("+refs/*:")),
            ..gix::remote::ref_map::Options::default()
        };
        let prepare = remote
            .to_connection_with_transport(transport)
            .with_credentials(|_| Ok(None))
            .prepare_fetch(gix::progress::Discard, options)
            .map_err(|error| fail(&error))?;
        Ok(Asked { prepare, outcome })
    }

    /// All reference names of the server; used to help after a miss.
    fn names(&self, handle: &gix::Repository, pattern: &str) -> Result<Vec<String>, SourceError> {
        let asked = self.ask(handle, &[format!("+{pattern}:refs/fluvial/all/*")])?;
        Ok(asked
            .prepare
            .ref_map()
            .remote_refs
            .iter()
            .filter(|found| !matches!(found, Ref::Unborn { .. }))
            .map(|found| found.unpack().0.to_str_lossy().into_owned())
            .collect())
    }

    fn single(
        &self,
        handle: &gix::Repository,
        name: &str,
        label: &str,
        target: &Target,
    ) -> Result<Step, SourceError> {
        let asked = self.ask(handle, &[format!("+{name}:refs/fluvial/{}", short_digest(name))])?;
        let map = asked.prepare.ref_map();
        if map.object_hash != handle.object_hash() {
            return Ok(Step::OtherHash(map.object_hash));
        }
        let mapping = map
            .mappings
            .iter()
            .find(|mapping| mapping.remote.as_name().is_some_and(|found| found == name));
        let Some((direct, peeled)) = mapping.and_then(|mapping| {
            let direct = mapping.remote.as_id()?.to_owned();
            Some((direct, mapping.remote.peeled_id()?.to_owned()))
        }) else {
            drop(asked);
            return Err(reference::missing(
                &self.shown,
                target,
                &self.names(handle, "refs/*")?,
            ));
        };
        if is_last(self.job.request, &reference::revision(label, &peeled)) {
            return Ok(Step::Unchanged);
        }
        if !handle.has_object(peeled) || !handle.has_object(direct) {
            if self.turn.is_worn() {
                return Ok(Step::Worn);
            }
            self.receive(asked, Shallow::DepthAtRemote(NonZeroU32::MIN))?;
        }
        self.found(handle, direct, label)
    }

    /// The commit that an object leads to.
    fn found(&self, handle: &gix::Repository, id: ObjectId, label: &str) -> Result<Step, SourceError> {
        let commit = handle
            .find_object(id)
            .and_then(|object| object.peel_to_kind(gix::objs::Kind::Commit))
            .map_err(|error| {
                SourceError::retry(
                    reason::INVALID_GIT_OBJECT,
                    format!("object {id} of '{}' leads to no commit: {error}", self.shown),
                )
            })?
            .id;
        Ok(Step::Found(Resolved {
            commit,
            tag: (id != commit).then_some(id),
            label: label.to_owned(),
        }))
    }

    fn newest(&self, handle: &gix::Repository, range: &str, target: &Target) -> Result<Step, SourceError> {
        let names = self.names(handle, "refs/tags/*")?;
        if names.is_empty() && self.names(handle, "refs/*")?.is_empty() {
            return Err(reference::empty(&self.shown));
        }
        let tags = local::choose_tags(&self.shown, range, &names).map_err(|error| {
            if names.is_empty() {
                reference_without_tags(&self.shown, target)
            } else {
                error
            }
        })?;
        let mut newest: Option<(i64, Step)> = None;
        let single = tags.len() == 1;
        for tag in tags {
            let step = self.single(handle, &format!("refs/tags/{tag}"), &tag, target)?;
            let Step::Found(resolved) = &step else {
                if single || !matches!(step, Step::Unchanged) {
                    return Ok(step);
                }
                continue;
            };
            let time = local::describe(handle, resolved.commit, None)?.time;
            if newest.as_ref().is_none_or(|(best, _)| time > *best) {
                newest = Some((time, step));
            }
        }
        Ok(newest.map_or(Step::Unchanged, |(_, step)| step))
    }

    fn commit(&self, handle: &gix::Repository, id: ObjectId, target: &Target) -> Result<Step, SourceError> {
        let asked = self.ask(handle, &[format!("+{id}:refs/fluvial/{id}")])?;
        let hash = asked.prepare.ref_map().object_hash;
        if hash != handle.object_hash() {
            return Ok(Step::OtherHash(hash));
        }
        if !handle.has_object(id) {
            if self.turn.is_worn() {
                return Ok(Step::Worn);
            }
            let outcome = Arc::clone(&asked.outcome);
            if let Err(error) = self.receive(asked, Shallow::DepthAtRemote(NonZeroU32::MIN)) {
                if outcome
                    .failure()
                    .is_some_and(|failure| !matches!(failure, Failure::Status(_)))
                {
                    return Err(error);
                }
                // Servers of the second protocol give every commit they have; older ones only what a
                // reference leads to, so there the history is fetched and looked through.
                if outcome.version2.load(Ordering::Relaxed) {
                    return Err(local::missing_commit(&self.shown, target));
                }
                let specs = match target {
                    Target::Commit {
                        branch: Some(branch), ..
                    } => vec![format!(
                        "+refs/heads/{branch}:refs/fluvial/{}",
                        short_digest(branch)
                    )],
                    _ => vec!["+refs/heads/*:refs/fluvial/heads/*".to_owned()],
                };
                self.receive(self.ask(handle, &specs)?, Shallow::undo())?;
            }
            if !handle.has_object(id) {
                return Err(local::missing_commit(&self.shown, target));
            }
        }
        self.found(handle, id, target.label())
    }

    fn receive(&self, asked: Asked<'_>, shallow: Shallow) -> Result<(), SourceError> {
        let Asked { prepare, outcome } = asked;
        outcome.allow(self.job.limits.download);
        prepare
            .with_shallow(shallow)
            .receive(gix::progress::Discard, self.job.cancelled)
            .map(|_| ())
            .map_err(|error| self.explain(&error, &outcome))
    }

    /// The error for people: what the wire says comes first, then what gix says.
    fn explain(&self, error: &gix::Error, outcome: &Outcome) -> SourceError {
        let url = &self.shown;
        let credentials = &self.job.request.credentials;
        let signed_in = credentials.username.is_some() || credentials.bearer_token.is_some();
        let failed = |message: String| SourceError::retry(reason::GIT_OPERATION_FAILED, message);
        let auth = |message: String| SourceError::retry(reason::AUTHENTICATION_FAILED, message);
        match outcome.failure() {
            Some(Failure::Status(401)) if signed_in => auth(format!(
                "'{url}' refused the credentials (401); check the user name and password or token in the \
                 secret that spec.secretRef names"
            )),
            Some(Failure::Status(401)) => auth(format!(
                "'{url}' wants credentials (401); name a secret with username and password, or bearerToken, in \
                 spec.secretRef"
            )),
            Some(Failure::Status(403)) => auth(format!(
                "'{url}' denied access (403); give the account of spec.secretRef the right to read the repository"
            )),
            Some(Failure::Status(404)) => failed(format!(
                "repository '{url}' was not found (404); check spec.url{}",
                if signed_in {
                    " and that the account may read it"
                } else {
                    "; a private one needs spec.secretRef"
                }
            )),
            Some(Failure::Status(407)) => SourceError::retry(
                reason::PROXY_INVALID,
                format!("the proxy for '{url}' wants other credentials (407); check spec.proxySecretRef"),
            ),
            Some(Failure::Status(status)) => {
                failed(format!("'{url}' answered with status {status}; trying again"))
            }
            Some(Failure::Connect(text)) => self.connect_failure(&text),
            Some(Failure::Timeout) => timed_out(url, self.job.timeout()),
            Some(Failure::Cancelled) => failed(format!("fetching '{url}' was cancelled")),
            Some(Failure::Redirect(what)) => failed(format!(
                "'{url}' answered with {what}, which is not followed; set spec.url to the repository's own address"
            )),
            Some(Failure::Remote(text)) => remote_failure(url, &text),
            Some(Failure::TooLarge(limit)) => failed(format!(
                "'{url}' sent more than {}; use a smaller repository",
                human(limit)
            )),
            None => {
                let text = error.to_string();
                if text.contains("'smart' protocol") {
                    return failed(format!(
                        "'{url}' is no Git repository (its answer is not Git's); check spec.url"
                    ));
                }
                let causes: Vec<String> = error.iter_errors().map(ToString::to_string).collect();
                // So says the standard library of a stream that ends within what it is read for.
                if causes
                    .iter()
                    .any(|cause| cause.contains("failed to fill whole buffer"))
                {
                    return failed(format!(
                        "the answer of '{url}' broke off; it is asked for again, look at the server and what is before it \
                         if that does not help"
                    ));
                }
                let cause = causes.last().filter(|cause| **cause != text);
                let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
                failed(format!(
                    "cannot fetch '{url}': {text}{cause}; it is tried again, look at the server and what is before it if \
                     that does not help"
                ))
            }
        }
    }

    fn connect_failure(&self, text: &str) -> SourceError {
        let url = &self.shown;
        let mut advice = connect_advice(text);
        if advice.contains("not trusted") && self.job.request.credentials.ca.is_some() {
            advice = "the certificate does not fit the CA in the secret; check ca.crt";
        }
        SourceError::retry(
            reason::GIT_OPERATION_FAILED,
            format!("cannot connect to '{url}': {text}; {advice}"),
        )
    }
}

/// What one look at the server led to.
enum Step {
    Unchanged,
    /// The cache has to be of another hash.
    OtherHash(gix::hash::Kind),
    /// The cache should be made anew first.
    Worn,
    Found(Resolved),
}

/// The error for what the program on an ssh server says.
fn remote_failure(url: &str, text: &str) -> SourceError {
    let lower = text.to_lowercase();
    if [
        "permission denied",
        "access denied",
        "not allowed",
        "unauthorized",
    ]
    .iter()
    .any(|word| lower.contains(word))
    {
        return SourceError::retry(
            reason::AUTHENTICATION_FAILED,
            format!("'{url}' denied access: {text}; give the key the right to read the repository"),
        );
    }
    let advice = if [
        "not found",
        "not exist",
        "not appear to be",
        "no such",
        "could not be found",
    ]
    .iter()
    .any(|word| lower.contains(word))
    {
        "check spec.url, and that the key may read the repository"
    } else {
        "trying again"
    };
    SourceError::retry(
        reason::GIT_OPERATION_FAILED,
        format!("the server of '{url}' says: {text}; {advice}"),
    )
}

fn reference_without_tags(url: &str, target: &Target) -> SourceError {
    SourceError::retry(
        reason::GIT_OPERATION_FAILED,
        format!(
            "repository '{url}' has no {}: it has no tags; push one",
            target.describe()
        ),
    )
}
