//! Cluster addresses and node ports of services.

mod rehearsal;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fluvial_schema::{ErrorKind, FieldError};
use serde_json::{Value, json};

use crate::api::meta;
use crate::status::{Failure, Outcome};
use crate::store::Store;

/// The addresses that services have: a network and the length of its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    base: Ipv4Addr,
    prefix: u8,
}

impl Default for Range {
    /// Room for 65,000 services.
    fn default() -> Self {
        Range::new(Ipv4Addr::new(10, 0, 0, 0), 16)
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.base, self.prefix)
    }
}

impl std::str::FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("{text:?} is no range of service addresses: expected one as 10.96.0.0/12");
        let (base, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let base: Ipv4Addr = base.parse().map_err(|_| wrong())?;
        let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
        if !(8..=30).contains(&prefix) {
            return Err(format!(
                "{text}: the prefix of a range of service addresses has 8 to 30 bits"
            ));
        }
        Ok(Range::new(base, prefix))
    }
}

impl Range {
    /// The network of an address; prefixes are held between 8 and 30 bits.
    #[must_use]
    pub fn new(base: Ipv4Addr, prefix: u8) -> Self {
        let prefix = prefix.clamp(8, 30);
        let mask = u32::MAX << (32 - prefix);
        Range {
            base: Ipv4Addr::from(u32::from(base) & mask),
            prefix,
        }
    }

    /// The last address but the one for broadcasts, counted from the network's.
    fn last(self) -> u32 {
        (1 << (32 - self.prefix)) - 2
    }

    /// Addresses left for services that ask for them.
    fn kept_back(self) -> u32 {
        ((self.last() + 2) / 16).clamp(16, 256).min(self.last())
    }

    fn offset(self, text: &str) -> Option<u32> {
        let offset = u32::from(text.parse::<Ipv4Addr>().ok()?).checked_sub(u32::from(self.base))?;
        (1..=self.last()).contains(&offset).then_some(offset)
    }

    fn address(self, offset: u32) -> String {
        Ipv4Addr::from(u32::from(self.base) + offset).to_string()
    }
}

const FIRST_PORT: u16 = 30_000;
const LAST_PORT: u16 = 32_767;

#[derive(Clone, Debug, Default)]
struct Taken {
    range: Range,
    addresses: BTreeSet<u32>,
    ports: BTreeSet<u16>,
    next: u32,
    next_port: u16,
}

/// What is taken of the ranges.
#[derive(Debug, Default)]
pub struct Allocator(Mutex<Taken>);

fn has_address(object: &Value) -> bool {
    object["spec"]["type"] != "ExternalName" && object["spec"]["clusterIP"] != "None"
}

fn wants_ports(object: &Value) -> bool {
    object["spec"]["type"] == "NodePort"
        || (object["spec"]["type"] == "LoadBalancer"
            && object["spec"]["allocateLoadBalancerNodePorts"] != false)
}

/// Balancers that keep to the machine where a call arrives ask each machine whether it has a pod.
fn wants_health(object: &Value) -> bool {
    let spec = &object["spec"];
    spec["type"] == "LoadBalancer"
        && spec["externalTrafficPolicy"] == "Local"
        && spec["healthCheckNodePort"].as_u64().unwrap_or(0) == 0
}

fn ports(object: &Value) -> Vec<u16> {
    let list = object["spec"]["ports"].as_array();
    let health = object["spec"]["healthCheckNodePort"].as_u64();
    list.into_iter()
        .flatten()
        .filter_map(|port| port["nodePort"].as_u64())
        .chain(health)
        .filter_map(|port| u16::try_from(port).ok())
        .collect()
}

impl Allocator {
    /// An allocator of a range with nothing taken.
    #[must_use]
    pub fn new(range: Range) -> Self {
        Allocator(Mutex::new(Taken {
            range,
            ..Taken::default()
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks what the stored services have.
    pub fn load(&self, store: &Store) {
        if let Ok(snapshot) = store.collection("services").snapshot(store, "", None, None) {
            let mut taken = self.lock();
            for stored in snapshot.objects {
                let object = stored.value();
                let own = object["spec"]["clusterIP"].as_str();
                let own = own.and_then(|text| taken.range.offset(text));
                taken.addresses.extend(own);
                taken.ports.extend(ports(&object));
            }
        }
    }

    /// Gives a service what it needs; `old` is its state before.
    ///
    /// # Errors
    /// Nothing is left, or what it asks for is taken or out of range.
    pub fn allocate(&self, object: &mut Value, old: Option<&Value>) -> Outcome<()> {
        let mut taken = self.lock();
        taken.allocate(object, old, false)
    }

    /// The same for a request that changes nothing: ports are made up, and nothing stays taken.
    ///
    /// # Errors
    /// As [`Allocator::allocate`].
    pub fn rehearse(&self, object: &mut Value, old: Option<&Value>) -> Outcome<()> {
        let mut trial = self.lock().clone();
        trial.allocate(object, old, true)
    }

    /// Whether the address that a new service asks for is one, and one of the range.
    ///
    /// # Errors
    /// It is not.
    pub fn check_address(&self, object: &Value, rehearsed: bool) -> Outcome<()> {
        let asked = object["spec"]["clusterIP"].as_str().unwrap_or("");
        let free = matches!(asked, "" | "None") || object["spec"]["type"] == "ExternalName";
        let listed = object["spec"]["clusterIPs"].as_array();
        let several = listed.is_some_and(|all| all.len() > 1);
        // Those of the other family are told of by their family.
        let other_family = asked.parse::<Ipv6Addr>().is_ok();
        if free || several || other_family {
            return Ok(());
        }
        let other = listed.filter(|all| all.first().is_some_and(|first| first != asked));
        let error = if let Some(other) = other {
            let detail = "first value must match `clusterIP`";
            FieldError::new(ErrorKind::Invalid, "spec.clusterIPs", json!(other), detail)
        } else if asked.parse::<IpAddr>().is_err() {
            let detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            FieldError::new(ErrorKind::Invalid, "spec.clusterIPs[0]", asked.into(), detail)
        } else {
            let taken = self.lock();
            if taken.range.offset(asked).is_some() {
                return Ok(());
            }
            let detail = taken.out_of_range(asked, rehearsed);
            FieldError::new(ErrorKind::Invalid, "spec.clusterIPs", json!([asked]), detail)
        };
        Err(Failure::invalid("", "Service", meta(object, "name"), &[error]))
    }

    /// Takes back what a service had and no longer has.
    pub fn release(&self, old: &Value, new: Option<&Value>) {
        let mut taken = self.lock();
        let own = old["spec"]["clusterIP"]
            .as_str()
            .and_then(|text| taken.range.offset(text));
        let kept = new.is_some_and(|new| new["spec"]["clusterIP"] == old["spec"]["clusterIP"]);
        if let Some(own) = own.filter(|_| !kept) {
            taken.addresses.remove(&own);
        }
        let kept = new.map(ports).unwrap_or_default();
        for port in ports(old) {
            if !kept.contains(&port) {
                taken.ports.remove(&port);
            }
        }
    }
}

impl Taken {
    fn allocate(&mut self, object: &mut Value, old: Option<&Value>, rehearsed: bool) -> Outcome<()> {
        let taken = self;
        let name = meta(object, "name").to_owned();
        let refuse = |error: FieldError| Failure::invalid("", "Service", &name, &[error]);
        if has_address(object) {
            let asked = object["spec"]["clusterIP"].as_str().unwrap_or("").to_owned();
            let kept = old.is_some_and(|old| old["spec"]["clusterIP"] == object["spec"]["clusterIP"]);
            let given = if asked.is_empty() && rehearsed {
                // Nobody will have it: the network's own address stands for any.
                taken.range.base.to_string()
            } else if asked.is_empty() {
                taken
                    .free_address()
                    .ok_or_else(|| Failure::internal("failed to allocate a serviceIP: range is full"))?
            } else if kept {
                asked
            } else {
                taken.take_address(&asked, rehearsed).map_err(|detail| {
                    let value = json!([asked]);
                    refuse(FieldError::new(
                        ErrorKind::Invalid,
                        "spec.clusterIPs",
                        value,
                        detail,
                    ))
                })?
            };
            object["spec"]["clusterIP"] = given.clone().into();
            if object["spec"]["clusterIPs"].as_array().is_none_or(Vec::is_empty) {
                object["spec"]["clusterIPs"] = json!([given]);
            }
        }
        if object["spec"]["type"] != "ExternalName" {
            families(object);
        }
        if wants_ports(object) {
            let mine = old.map(ports).unwrap_or_default();
            if rehearsed {
                rehearsal::are_free(object, |port| {
                    taken.ports.contains(&port) && !mine.contains(&port)
                })
                .map_err(|error| refuse(*error))?;
                rehearsal::ports(object);
            } else {
                taken
                    .node_ports(object, &mine)
                    .map_err(|error| *error)
                    .map_err(refuse)?;
            }
        }
        if wants_health(object) {
            object["spec"]["healthCheckNodePort"] = if rehearsed {
                ports(object)
                    .last()
                    .map_or(32_769, |last| u64::from(*last) + 1)
                    .into()
            } else {
                let full = || Failure::internal("failed to allocate a healthCheckNodePort: range is full");
                taken.free_port().ok_or_else(full)?.into()
            };
        }
        Ok(())
    }
}

/// Ports for an answer that nobody acts upon: beyond the range, so that they are seen to be none.
fn families(object: &mut Value) {
    let spec = &mut object["spec"];
    if spec["clusterIP"] == "None" && spec["clusterIPs"].is_null() {
        spec["clusterIPs"] = json!(["None"]);
    }
    if spec["ipFamilies"].is_null() {
        spec["ipFamilies"] = json!(["IPv4"]);
    }
    let headless = spec["clusterIP"] == "None" && spec["selector"].is_null();
    if spec["ipFamilyPolicy"].is_null() {
        let policy = if headless {
            "RequireDualStack"
        } else {
            "SingleStack"
        };
        spec["ipFamilyPolicy"] = policy.into();
    }
    // Those that nobody answers for may have both families on every cluster.
    if headless
        && spec["ipFamilyPolicy"] != "SingleStack"
        && let Some([only]) = spec["ipFamilies"].as_array().map(Vec::as_slice)
    {
        let other = if only == "IPv4" { "IPv6" } else { "IPv4" };
        spec["ipFamilies"] = json!([only, other]);
    }
}

impl Taken {
    fn free_address(&mut self) -> Option<String> {
        let (first, last) = (self.range.kept_back() + 1, self.range.last());
        for _ in first..=last {
            self.next = if self.next < first || self.next >= last {
                first
            } else {
                self.next + 1
            };
            if self.addresses.insert(self.next) {
                return Some(self.range.address(self.next));
            }
        }
        let free = (2..=last).find(|address| !self.addresses.contains(address))?;
        self.addresses.insert(free);
        Some(self.range.address(free))
    }

    fn take_address(&mut self, asked: &str, rehearsal: bool) -> Result<String, String> {
        let failed = |why: &str| format!("failed to allocate IP {asked}: {why}");
        match self.range.offset(asked) {
            // Whether it is free is found out when it is taken.
            Some(_) if rehearsal => Ok(asked.to_owned()),
            Some(own) if self.addresses.insert(own) => Ok(asked.to_owned()),
            Some(_) => Err(failed("provided IP is already allocated")),
            None => Err(self.out_of_range(asked, rehearsal)),
        }
    }

    fn out_of_range(&self, asked: &str, rehearsal: bool) -> String {
        let range = &self.range;
        let why = match rehearsal {
            true => format!(
                "the provided IP ({asked}) is not in the valid range. The range of valid IPs is {range}"
            ),
            false => "the provided network does not match the current range".to_owned(),
        };
        format!("failed to allocate IP {asked}: {why}")
    }

    fn node_ports(&mut self, object: &mut Value, mine: &[u16]) -> Result<(), Box<FieldError>> {
        let list = object["spec"].get_mut("ports").and_then(Value::as_array_mut);
        // Ports of one number and several protocols share what is given to the first.
        let mut given: Vec<(Value, Value, Value)> = vec![];
        for (index, port) in list.into_iter().flatten().enumerate() {
            let path = format!("spec.ports[{index}].nodePort");
            let asked = port["nodePort"].as_u64().unwrap_or(0);
            let shared = given
                .iter()
                .find(|(number, protocol, _)| *number == port["port"] && *protocol != port["protocol"]);
            if let Some((_, _, shared)) = shared.filter(|_| asked == 0) {
                port["nodePort"] = shared.clone();
                continue;
            }
            if asked == 0 {
                let free = self.free_port().ok_or_else(|| {
                    Box::new(FieldError::plain(
                        ErrorKind::Internal,
                        path.clone(),
                        "failed to allocate a nodePort: range is full",
                    ))
                })?;
                port["nodePort"] = free.into();
                given.push((port["port"].clone(), port["protocol"].clone(), free.into()));
                continue;
            }
            let number = u16::try_from(asked).unwrap_or(0);
            // One number serves several protocols.
            let here = given
                .iter()
                .any(|(_, protocol, own)| *own == number && *protocol != port["protocol"]);
            given.push((port["port"].clone(), port["protocol"].clone(), number.into()));
            if mine.contains(&number) || here {
                continue;
            }
            let refuse = |detail: String| {
                Box::new(FieldError::new(
                    ErrorKind::Invalid,
                    path.clone(),
                    asked.into(),
                    detail,
                ))
            };
            if !(FIRST_PORT..=LAST_PORT).contains(&number) {
                let detail =
                    "provided port is not in the valid range. The range of valid ports is 30000-32767";
                return Err(refuse(detail.to_owned()));
            }
            if !self.ports.insert(number) {
                return Err(refuse("provided port is already allocated".to_owned()));
            }
        }
        Ok(())
    }

    fn free_port(&mut self) -> Option<u16> {
        for _ in FIRST_PORT..=LAST_PORT {
            let after = self.next_port + 1;
            self.next_port = if (FIRST_PORT..=LAST_PORT).contains(&after) {
                after
            } else {
                FIRST_PORT + 86
            };
            if self.ports.insert(self.next_port) {
                return Some(self.next_port);
            }
        }
        None
    }
}

/// Keeps the addresses that an update leaves out.
pub fn keep(new: &mut Value, old: &Value) {
    if new["spec"]["type"] == "ExternalName" || old["spec"]["type"] == "ExternalName" {
        return;
    }
    for field in [
        "clusterIP",
        "clusterIPs",
        "ipFamilies",
        "ipFamilyPolicy",
        "healthCheckNodePort",
    ] {
        if new["spec"][field].is_null() && !old["spec"][field].is_null() {
            new["spec"][field] = old["spec"][field].clone();
        }
    }
    if wants_ports(new) {
        let had: Vec<Value> = old["spec"]["ports"].as_array().cloned().unwrap_or_default();
        let list = new["spec"].get_mut("ports").and_then(Value::as_array_mut);
        for port in list.into_iter().flatten() {
            if port["nodePort"].as_u64().unwrap_or(0) != 0 {
                continue;
            }
            let same = had
                .iter()
                .find(|old| old["port"] == port["port"] && old["protocol"] == port["protocol"]);
            if let Some(number) = same.and_then(|old| old.get("nodePort")) {
                port["nodePort"] = number.clone();
            }
        }
    }
    clean(new);
}

/// Indexing leaves nulls behind.
fn clean(new: &mut Value) {
    if let Some(spec) = new["spec"].as_object_mut() {
        spec.retain(|_, value| !value.is_null());
    }
}

/// Drops what belonged to the old type and was not asked for anew. Owners keep it in their records.
pub fn drop_dependents(new: &mut Value, old: &Value) {
    let is = |service: &Value, kind: &str| service["spec"]["type"] == kind;
    let addressed = |service: &Value| !is(service, "ExternalName");
    let outside = |service: &Value| is(service, "NodePort") || is(service, "LoadBalancer");
    let balanced = |service: &Value| is(service, "LoadBalancer");
    let health = |service: &Value| balanced(service) && service["spec"]["externalTrafficPolicy"] == "Local";
    let reached = |service: &Value| {
        let external = service["spec"]["externalIPs"].as_array();
        outside(service) || (is(service, "ClusterIP") && external.is_some_and(|list| !list.is_empty()))
    };
    let mut gone: Vec<&str> = vec![];
    if addressed(old) && !addressed(new) {
        let empty = |value: &Value| value.as_str().is_some_and(str::is_empty);
        let given = |field: &str| new["spec"][field] != old["spec"][field];
        if empty(&new["spec"]["clusterIP"]) || !given("clusterIP") {
            gone.extend(["clusterIP", "clusterIPs"]);
        }
        gone.extend(["ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"]);
    }
    if health(old) && !health(new) {
        gone.push("healthCheckNodePort");
    }
    if balanced(old) && !balanced(new) {
        gone.extend(["allocateLoadBalancerNodePorts", "loadBalancerClass"]);
    }
    if reached(old) && !reached(new) {
        gone.push("externalTrafficPolicy");
    }
    for field in gone {
        let dropped = matches!(field, "clusterIP" | "clusterIPs" | "internalTrafficPolicy");
        if dropped || new["spec"][field] == old["spec"][field] {
            new["spec"][field] = Value::Null;
        }
    }
    if outside(old) && !outside(new) {
        let had = old["spec"]["ports"].as_array().cloned().unwrap_or_default();
        let list = new["spec"].get_mut("ports").and_then(Value::as_array_mut);
        for (index, port) in list.into_iter().flatten().enumerate() {
            let same = had
                .get(index)
                .is_some_and(|old| old["nodePort"] == port["nodePort"]);
            if same && let Some(map) = port.as_object_mut() {
                map.remove("nodePort");
            }
        }
    }
    if !balanced(new) && !new["status"]["loadBalancer"]["ingress"].is_null() {
        new["status"]["loadBalancer"] = json!({});
    }
    clean(new);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_as_it_is_written() {
        let range: Range = "10.245.0.10/16".parse().unwrap();
        assert_eq!(range.to_string(), "10.245.0.0/16");
        assert!(range.offset("10.245.0.10").is_some() && range.offset("10.96.0.10").is_none());
        for wrong in [
            "10.245.0.0",
            "10.245/16",
            "10.245.0.0/x",
            "10.245.0.0/31",
            "fd00::/112",
        ] {
            let error = wrong.parse::<Range>().unwrap_err();
            assert!(error.contains(wrong), "{error}");
        }
    }
}
