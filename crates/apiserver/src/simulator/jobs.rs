//! Jobs: pods that end, and the job with them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::conditions::{self, Said};
use super::pods::Wanted;
use super::replicas::number;
use super::{Class, Found, MOST_PODS, Outcome, Script, Simulator, erase, seconds, update};
use crate::api::{Api, meta, name_suffix};

/// How a job ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Complete,
    Failed,
    TooLate,
}

/// How far a job's pods are.
#[derive(Default)]
struct Progress {
    active: usize,
    ready: usize,
    succeeded: usize,
    failed: usize,
}

/// Whether a job has ended, and how.
pub(super) fn ended(job: &Value) -> Option<&'static str> {
    ["Complete", "Failed"]
        .into_iter()
        .find(|kind| conditions::get(&job["status"], kind).is_some_and(|found| found["status"] == "True"))
}

impl Simulator {
    fn progress(&self, keys: &[Arc<str>]) -> Progress {
        let mut progress = Progress::default();
        for facts in keys.iter().filter_map(|key| self.pods.get(key)) {
            match facts.phase {
                b'S' => progress.succeeded += 1,
                b'F' => progress.failed += 1,
                _ if facts.deleting => {}
                _ => {
                    progress.active += 1;
                    progress.ready += usize::from(facts.ready.is_some());
                }
            }
        }
        progress
    }

    /// Runs a job's pods and says how far they are.
    pub(super) fn job(&mut self, api: &Api, found: &Found) {
        let job = &found.value;
        let managed = job["spec"]["managedBy"]
            .as_str()
            .is_some_and(|by| by != "kubernetes.io/job-controller");
        if found.deleting() || managed {
            return;
        }
        if ended(job).is_some() {
            self.expire(api, found);
            return;
        }
        let suspended = job["spec"]["suspend"] == true;
        let mut keys = self.children(found.uid(), Class::Pod);
        self.mark_pods(&keys, Script::is_in(&found.stored));
        let script = Script::of(job);
        if suspended {
            for key in self.active(keys.clone()) {
                self.drop_pod(api, &key);
            }
        } else {
            self.run_pods(api, found, script, &mut keys);
        }
        let progress = self.progress(&keys);
        let completions = number(
            &job["spec"]["completions"],
            number(&job["spec"]["parallelism"], 1),
        );
        let end = if suspended {
            None
        } else if progress.failed > 0 && script.outcome == Outcome::Fail {
            Some(End::Failed)
        } else if progress.succeeded >= completions.min(MOST_PODS) {
            Some(End::Complete)
        } else {
            self.overdue(api, found)
        };
        if end == Some(End::TooLate) {
            for key in self.active(keys.clone()) {
                self.drop_pod(api, &key);
            }
        }
        self.say(api, found, &progress, completions, end);
        if end.is_some()
            && let Some(found) = super::find(api, Class::Job, &found.stored.key)
        {
            self.expire(api, &found);
        }
    }

    /// Makes pods while more may run and more are to succeed.
    fn run_pods(&mut self, api: &Api, found: &Found, script: Script, keys: &mut Vec<Arc<str>>) {
        let job = &found.value;
        let spec = &job["spec"];
        let parallel = number(&spec["parallelism"], 1);
        let total = number(&spec["completions"], parallel).min(MOST_PODS);
        let indexed = spec["completionMode"] == "Indexed";
        let item = (Class::Job, found.stored.key.clone());
        loop {
            let progress = self.progress(keys);
            let enough = progress.active + progress.succeeded >= total || progress.active >= parallel;
            if enough || (progress.failed > 0 && script.outcome == Outcome::Fail) {
                self.refusals.remove(&item);
                return;
            }
            let index = (progress.active + progress.succeeded).to_string();
            let annotation = [("batch.kubernetes.io/job-completion-index", index.as_str())];
            let extra: &[(&str, &str)] = if indexed { &annotation } else { &[] };
            let name = if indexed {
                format!("{}-{index}-{}", meta(job, "name"), name_suffix())
            } else {
                format!("{}-{}", meta(job, "name"), name_suffix())
            };
            let made = self.make_pod(
                api,
                &Wanted {
                    class: Class::Job,
                    owner: job,
                    name,
                    labels: extra,
                    annotations: extra,
                    script,
                },
            );
            match made {
                Ok(stored) => keys.push(stored.key.clone()),
                Err(_) => {
                    self.again(item);
                    return;
                }
            }
        }
    }

    fn overdue(&mut self, api: &Api, found: &Found) -> Option<End> {
        let limit = found.value["spec"]["activeDeadlineSeconds"].as_i64()?;
        let now = (api.clock)().as_second();
        let since = seconds(&found.value["status"]["startTime"]).unwrap_or(now);
        let left = since + limit - now;
        if left <= 0 {
            return Some(End::TooLate);
        }
        let left = Duration::from_secs(u64::try_from(left).unwrap_or(1));
        self.later(left, (Class::Job, found.stored.key.clone()));
        None
    }

    /// Removes a job that ended when its time is over.
    fn expire(&mut self, api: &Api, found: &Found) {
        let job = &found.value;
        let Some(ttl) = job["spec"]["ttlSecondsAfterFinished"].as_i64() else {
            return;
        };
        let at = ended(job)
            .and_then(|kind| conditions::get(&job["status"], kind))
            .and_then(|condition| seconds(&condition["lastTransitionTime"]));
        let left = at.unwrap_or(0) + ttl - (api.clock)().as_second();
        if left <= 0 {
            erase(api, Class::Job, &found.stored, None);
        } else {
            let left = Duration::from_secs(u64::try_from(left).unwrap_or(1));
            self.later(left, (Class::Job, found.stored.key.clone()));
        }
    }

    fn say(&self, api: &Api, found: &Found, progress: &Progress, completions: usize, end: Option<End>) {
        let now = api.now();
        let suspended = found.value["spec"]["suspend"] == true;
        let backoff = number(&found.value["spec"]["backoffLimit"], 6);
        update(api, Class::Job, &found.stored.key, "status", &mut |job| {
            let indexed = job["spec"]["completionMode"] == "Indexed";
            let status = &mut job["status"];
            let set = |status: &mut Value, kind: &str, flag: &str, reason: &str, message: &str| {
                let said = Said {
                    kind,
                    status: flag,
                    reason,
                    message,
                };
                conditions::set(status, &said, Some("lastProbeTime"), &now);
            };
            if suspended {
                set(status, "Suspended", "True", "JobSuspended", "Job suspended");
            } else {
                if status["startTime"].is_null() {
                    status["startTime"] = now.clone().into();
                }
                if conditions::get(status, "Suspended").is_some() {
                    set(status, "Suspended", "False", "JobResumed", "Job resumed");
                }
            }
            status["terminating"] = 0.into();
            status["uncountedTerminatedPods"] = json!({});
            status["ready"] = progress.ready.into();
            conditions::count(status, "active", progress.active);
            conditions::count(status, "succeeded", progress.succeeded);
            conditions::count(status, "failed", progress.failed);
            match end {
                None => {}
                Some(End::Complete) => {
                    let text = "Reached expected number of succeeded pods";
                    conditions::count(status, "succeeded", completions);
                    conditions::count(status, "active", 0);
                    status["completionTime"] = now.clone().into();
                    if indexed && completions > 0 {
                        status["completedIndexes"] = if completions == 1 {
                            "0".into()
                        } else {
                            format!("0-{}", completions - 1).into()
                        };
                    }
                    set(status, "SuccessCriteriaMet", "True", "CompletionsReached", text);
                    set(status, "Complete", "True", "CompletionsReached", text);
                }
                Some(failure) => {
                    let (reason, text) = if failure == End::TooLate {
                        (
                            "DeadlineExceeded",
                            "Job was active longer than specified deadline",
                        )
                    } else {
                        conditions::count(status, "failed", backoff + 1);
                        (
                            "BackoffLimitExceeded",
                            "Job has reached the specified backoff limit",
                        )
                    };
                    conditions::count(status, "active", 0);
                    set(status, "FailureTarget", "True", reason, text);
                    set(status, "Failed", "True", reason, text);
                }
            }
        });
    }
}
