//! A cluster in which something happens right when an object is read.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fluvial_controllers::ports::{
    Apply, BoxFuture, BoxStream, Cluster, ClusterError, Create, Delete, KindChange, Patch, Resource, Select,
    Served, Target, Token, Watched,
};
use futures::{FutureExt, StreamExt};
use serde_json::Value;

/// How late jobs are followed.
const LATE: Duration = Duration::from_millis(200);

/// What happens once, and before which object is read.
pub struct Happening {
    /// Kind of the object.
    pub kind: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What happens.
    pub what: BoxFuture<'static, ()>,
}

/// Ends the writes of a process after so many of them, as a kill would.
#[derive(Default)]
pub struct End(Mutex<Option<(usize, bool)>>);

impl End {
    /// From now on, `count` more writes are done; with `lost`, one more is done whose answer nobody hears. Then there is
    /// silence.
    pub fn after(&self, count: usize, lost: bool) {
        *self.0.lock().unwrap() = Some((count, lost));
    }

    /// No end any more. Gives how many writes were still allowed.
    pub fn never(&self) -> Option<usize> {
        self.0.lock().unwrap().take().map(|(left, _)| left)
    }

    /// Whether a write is done, and whether its answer is heard.
    fn write(&self) -> (bool, bool) {
        match &mut *self.0.lock().unwrap() {
            None => (true, true),
            Some((0, lost)) => (std::mem::take(lost), false),
            Some((left, _)) => {
                *left -= 1;
                (true, true)
            }
        }
    }
}

/// A cluster with something about to happen.
#[derive(Clone)]
pub struct Tap {
    /// The cluster itself.
    pub inner: Arc<dyn Cluster>,
    /// What happens next.
    pub next: Arc<Mutex<Option<Happening>>>,
    /// When writes end.
    pub end: Arc<End>,
}

impl Tap {
    fn write<'a, T: Send + 'a>(&'a self, write: BoxFuture<'a, T>) -> BoxFuture<'a, T> {
        let (done, heard) = self.end.write();
        Box::pin(async move {
            if done {
                let answer = write.await;
                if heard {
                    return answer;
                }
            }
            std::future::pending().await
        })
    }
}

impl Cluster for Tap {
    fn acting_as(&self, user: &str) -> Arc<dyn Cluster> {
        Arc::new(Self {
            inner: self.inner.acting_as(user),
            next: Arc::clone(&self.next),
            end: Arc::clone(&self.end),
        })
    }

    fn resource<'a>(
        &'a self,
        api_version: &'a str,
        kind: &'a str,
    ) -> BoxFuture<'a, Result<Arc<Resource>, ClusterError>> {
        self.inner.resource(api_version, kind)
    }

    fn served(&self) -> BoxFuture<'_, Result<Option<Served>, ClusterError>> {
        self.inner.served()
    }

    fn kind_changes(&self) -> BoxStream<'static, KindChange> {
        self.inner.kind_changes()
    }

    fn token<'a>(
        &'a self,
        account: (&'a str, &'a str),
        audiences: &'a [String],
    ) -> BoxFuture<'a, Result<Token, ClusterError>> {
        self.inner.token(account, audiences)
    }

    fn get<'a>(&'a self, target: Target<'a>) -> BoxFuture<'a, Result<Option<Value>, ClusterError>> {
        let happening = self
            .next
            .lock()
            .unwrap()
            .take_if(|next| next.kind == target.resource.kind && next.name == target.name);
        Box::pin(async move {
            if let Some(happening) = happening {
                happening.what.await;
            }
            self.inner.get(target).await
        })
    }

    fn list<'a>(
        &'a self,
        resource: &'a Resource,
        select: &'a Select,
    ) -> BoxFuture<'a, Result<Vec<Value>, ClusterError>> {
        self.inner.list(resource, select)
    }

    fn watch(&self, resource: &Resource, select: &Select) -> BoxStream<'static, Watched> {
        if resource.kind != "Job" {
            return self.inner.watch(resource, select);
        }
        // As on a busy machine: a quick job has ended before anybody follows it.
        let (inner, resource, select) = (Arc::clone(&self.inner), resource.clone(), select.clone());
        let late = async move {
            tokio::time::sleep(LATE).await;
            inner.watch(&resource, &select)
        };
        late.into_stream().flatten().boxed()
    }

    fn apply<'a>(
        &'a self,
        target: Target<'a>,
        object: &'a Value,
        how: Apply<'a>,
    ) -> BoxFuture<'a, Result<Value, ClusterError>> {
        if how.dry_run {
            return self.inner.apply(target, object, how);
        }
        self.write(self.inner.apply(target, object, how))
    }

    fn patch<'a>(
        &'a self,
        target: Target<'a>,
        patch: Patch<'a>,
    ) -> BoxFuture<'a, Result<Value, ClusterError>> {
        if target.resource.kind == "Event" || patch.dry_run {
            return self.inner.patch(target, patch);
        }
        self.write(self.inner.patch(target, patch))
    }

    fn create<'a>(
        &'a self,
        target: Target<'a>,
        object: &'a Value,
        how: Create<'a>,
    ) -> BoxFuture<'a, Result<Value, ClusterError>> {
        if target.resource.kind == "Event" || how.dry_run {
            return self.inner.create(target, object, how);
        }
        self.write(self.inner.create(target, object, how))
    }

    fn delete<'a>(
        &'a self,
        target: Target<'a>,
        how: Delete<'a>,
    ) -> BoxFuture<'a, Result<bool, ClusterError>> {
        self.write(self.inner.delete(target, how))
    }
}
