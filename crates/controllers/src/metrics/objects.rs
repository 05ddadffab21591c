//! What is measured of each object. Fleets have thousands: each keeps its own words and counts once, and the lines of
//! the metrics are made when somebody asks for them.

use std::collections::BTreeMap;
use std::fmt::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::ResourceFacts;
use crate::Key;

/// Upper bounds of the buckets of durations, in seconds: as many as Flux's, from 10 ms to half an hour; longer ones are
/// in a last bucket.
const BOUNDS: usize = 10;
const SHORTEST: f64 = 0.01;
const LONGEST: f64 = 1800.0;

type Label<'a> = (&'static str, &'a str);

/// All objects of all kinds.
#[derive(Debug, Default)]
pub(super) struct Objects(Mutex<BTreeMap<(&'static str, Key), Object>>);

#[derive(Debug, Default)]
struct Object {
    shown: Option<Facts>,
    took: Took,
}

#[derive(Debug)]
struct Facts {
    /// Type and status.
    conditions: Box<[(Box<str>, Box<str>)]>,
    ready: Box<str>,
    suspended: bool,
    revision: Box<str>,
    source: Box<str>,
}

/// Durations of the runs for an object.
#[derive(Debug, Default)]
struct Took {
    sum: f64,
    counts: [u32; BOUNDS + 1],
}

impl Objects {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(&'static str, Key), Object>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn reconciled(&self, kind: &'static str, key: &Key, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = bounds().iter().take_while(|bound| seconds > **bound).count();
        let mut objects = self.lock();
        let object = objects.entry((kind, key.clone())).or_default();
        object.took.sum += seconds;
        object.took.counts[bucket] = object.took.counts[bucket].saturating_add(1);
    }

    pub(super) fn show(
        &self,
        kind: &'static str,
        key: &Key,
        conditions: &[fluvial_api::Condition],
        facts: &ResourceFacts<'_>,
    ) {
        let words = |condition: &fluvial_api::Condition| -> (Box<str>, Box<str>) {
            (condition.r#type.as_str().into(), condition.status.as_str().into())
        };
        let shown = Facts {
            conditions: conditions.iter().map(words).collect(),
            ready: facts.ready.into(),
            suspended: facts.suspended,
            revision: facts.revision.into(),
            source: facts.source.into(),
        };
        self.lock().entry((kind, key.clone())).or_default().shown = Some(shown);
    }

    pub(super) fn forget(&self, kind: &'static str, key: &Key) {
        self.lock().remove(&(kind, key.clone()));
    }
}

fn bounds() -> [f64; BOUNDS] {
    let step = (LONGEST / SHORTEST).powf(1.0 / (BOUNDS - 1) as f64);
    let mut bound = SHORTEST / step;
    [(); BOUNDS].map(|()| {
        bound *= step;
        bound
    })
}

fn base<'a>(kind: &'static str, key: &'a Key) -> Vec<Label<'a>> {
    vec![
        ("kind", kind),
        ("name", &*key.name),
        ("namespace", &*key.namespace),
    ]
}

impl Facts {
    fn info(&self, encoder: &mut MetricEncoder<'_>, kind: &'static str, key: &Key) -> Result<(), Error> {
        let mut labels = base(kind, key);
        labels.extend([
            ("customresource_kind", kind),
            ("exported_namespace", &key.namespace),
            ("ready", &self.ready),
            ("suspended", if self.suspended { "true" } else { "false" }),
            ("revision", &self.revision),
            ("source", &self.source),
        ]);
        encoder.encode_family(&labels)?.encode_gauge(&1_i64)
    }

    fn conditions(
        &self,
        encoder: &mut MetricEncoder<'_>,
        kind: &'static str,
        key: &Key,
    ) -> Result<(), Error> {
        for (of, status) in &self.conditions {
            let mut labels = base(kind, key);
            labels.extend([("status", &**status), ("type", &**of)]);
            encoder.encode_family(&labels)?.encode_gauge(&1_i64)?;
        }
        Ok(())
    }
}

impl Took {
    fn encode(&self, encoder: &mut MetricEncoder<'_>, kind: &'static str, key: &Key) -> Result<(), Error> {
        let count: u64 = self.counts.into_iter().map(u64::from).sum();
        if count == 0 {
            return Ok(());
        }
        let bounds = bounds().into_iter().chain([f64::MAX]);
        let buckets: Vec<_> = bounds.zip(self.counts.into_iter().map(u64::from)).collect();
        encoder
            .encode_family(&base(kind, key))?
            .encode_histogram::<NoLabelSet>(self.sum, count, &buckets, None)
    }
}

impl Collector for Objects {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let objects = self.lock();
        let shown = || {
            objects
                .iter()
                .filter_map(|((kind, key), object)| Some((*kind, key, object.shown.as_ref()?)))
        };
        let mut durations = encoder.encode_descriptor(
            "gotk_reconcile_duration_seconds",
            "Duration of reconciliations.",
            None,
            MetricType::Histogram,
        )?;
        for ((kind, key), object) in objects.iter() {
            object.took.encode(&mut durations, kind, key)?;
        }
        let mut gauge = |name,
                         help,
                         line: &dyn Fn(
            &mut MetricEncoder<'_>,
            &'static str,
            &Key,
            &Facts,
        ) -> Result<(), Error>| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            shown().try_for_each(|(kind, key, facts)| line(&mut family, kind, key, facts))
        };
        gauge(
            "gotk_reconcile_condition",
            "Current conditions of objects.",
            &|family, kind, key, facts| facts.conditions(family, kind, key),
        )?;
        gauge(
            "gotk_suspend_status",
            "Whether an object is suspended.",
            &|family, kind, key, facts| {
                family
                    .encode_family(&base(kind, key))?
                    .encode_gauge(&i64::from(facts.suspended))
            },
        )?;
        gauge(
            "gotk_resource_info",
            "Facts of reconciled objects.",
            &|family, kind, key, facts| facts.info(family, kind, key),
        )
    }
}
