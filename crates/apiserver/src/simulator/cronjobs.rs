//! Cron jobs: a job whenever the schedule says so.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::cron::Schedule;
use super::replicas::number;
use super::{Class, Found, Simulator, erase, find, jobs, make, reference, update};
use crate::api::{Api, meta, rfc3339};

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

impl Simulator {
    /// Starts the job that is due, tidies up and says what runs.
    pub(super) fn cron_job(&mut self, api: &Api, found: &Found) {
        if found.deleting() {
            return;
        }
        let cron = &found.value;
        let spec = &cron["spec"];
        let due = self.due_run(api, found);
        let mut children: Vec<Found> = self
            .children(found.uid(), Class::Job)
            .iter()
            .filter_map(|key| find(api, Class::Job, key))
            .collect();
        let running = |children: &[Found]| children.iter().any(|job| jobs::ended(&job.value).is_none());
        let mut started = None;
        if let Some(at) = due {
            let policy = spec["concurrencyPolicy"].as_str().unwrap_or("Allow");
            if policy == "Replace" {
                for job in children.iter().filter(|job| jobs::ended(&job.value).is_none()) {
                    erase(api, Class::Job, &job.stored, None);
                }
                children.retain(|job| jobs::ended(&job.value).is_some());
            }
            if policy != "Forbid" || !running(&children) {
                self.start(api, cron, at);
                started = Some(at);
                children = self
                    .children(found.uid(), Class::Job)
                    .iter()
                    .filter_map(|key| find(api, Class::Job, key))
                    .collect();
            }
        }
        clean_up(api, spec, &mut children);
        let active: Vec<Value> = children
            .iter()
            .filter(|job| jobs::ended(&job.value).is_none())
            .map(|job| {
                json!({"apiVersion": "batch/v1", "kind": "Job", "name": meta(&job.value, "name"),
                    "namespace": meta(&job.value, "namespace"), "uid": job.uid(),
                    "resourceVersion": job.stored.version.to_string()})
            })
            .collect();
        let success = children
            .iter()
            .filter_map(|job| job.value["status"]["completionTime"].as_str())
            .max()
            .map(str::to_owned);
        update(api, Class::CronJob, &found.stored.key, "status", &mut |cron| {
            let status = &mut cron["status"];
            if let Some(at) = started {
                status["lastScheduleTime"] = rfc3339(at).into();
            }
            if let Some(success) = &success {
                status["lastSuccessfulTime"] = success.clone().into();
            }
            if !active.is_empty() {
                status["active"] = active.clone().into();
            } else if let Some(map) = status.as_object_mut() {
                map.remove("active");
            }
        });
    }

    /// The latest run that is due; a timer waits for the next.
    fn due_run(&mut self, api: &Api, found: &Found) -> Option<Timestamp> {
        let cron = &found.value;
        if cron["spec"]["suspend"] == true {
            return None;
        }
        let schedule = Schedule::parse(cron["spec"]["schedule"].as_str()?)?;
        let zone = match cron["spec"]["timeZone"].as_str() {
            Some(name) => TimeZone::get(name).ok()?,
            None => TimeZone::UTC,
        };
        let now = (api.clock)();
        let mut after = time(&cron["status"]["lastScheduleTime"])
            .or_else(|| time(&cron["metadata"]["creationTimestamp"]))
            .unwrap_or(now);
        let mut due = None;
        // Of many missed runs only the latest counts; a long pause is not counted through.
        if now.as_second() - after.as_second() > 86_400 {
            after = now - jiff::SignedDuration::from_hours(24);
        }
        let next = loop {
            let next = schedule.next(after, &zone)?;
            if next > now {
                break next;
            }
            due = Some(next);
            after = next;
        };
        let wait = next.as_millisecond() - now.as_millisecond();
        let wait = Duration::from_millis(u64::try_from(wait).unwrap_or(0) + 5);
        self.later(wait, (Class::CronJob, found.stored.key.clone()));
        let late = |at: &Timestamp| {
            let limit = cron["spec"]["startingDeadlineSeconds"].as_i64();
            limit.is_none_or(|limit| now.as_second() - at.as_second() <= limit)
        };
        due.filter(late)
    }

    fn start(&mut self, api: &Api, cron: &Value, at: Timestamp) {
        let template = &cron["spec"]["jobTemplate"];
        let name = format!("{}-{}", meta(cron, "name"), at.as_second() / 60);
        let mut job = json!({"metadata": {"name": name, "namespace": meta(cron, "namespace"),
            "ownerReferences": reference(api, Class::CronJob, cron)}, "spec": template["spec"]});
        for field in ["labels", "annotations"] {
            if !template["metadata"][field].is_null() {
                job["metadata"][field] = template["metadata"][field].clone();
            }
        }
        job["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"] =
            rfc3339(at).into();
        // Its own script goes for its jobs too.
        for name in [super::OUTCOME, super::DELAY] {
            let own = &cron["metadata"]["annotations"][name];
            if !own.is_null() && job["metadata"]["annotations"][name].is_null() {
                job["metadata"]["annotations"][name] = own.clone();
            }
        }
        // The run of this minute may have been started before.
        if let Ok(stored) = make(api, Class::Job, job, &mut |_| {}) {
            self.learn(Class::Job, &stored);
            self.mark(Class::Job, &stored.key);
        }
    }
}

/// Removes ended jobs beyond those kept.
fn clean_up(api: &Api, spec: &Value, children: &mut Vec<Found>) {
    children.sort_by_key(|job| job.stored.version);
    for (kind, field, default) in [
        ("Complete", "successfulJobsHistoryLimit", 3),
        ("Failed", "failedJobsHistoryLimit", 1),
    ] {
        let kept = number(&spec[field], default);
        let of_kind: Vec<usize> = (0..children.len())
            .filter(|at| jobs::ended(&children[*at].value) == Some(kind))
            .collect();
        for at in of_kind[..of_kind.len().saturating_sub(kept)].iter().rev() {
            let job = children.remove(*at);
            erase(api, Class::Job, &job.stored, None);
        }
    }
}
