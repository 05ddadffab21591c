//! Pod specifications with the names and the order of the server's own types, as refused changes show them.

use serde_json::Value;

use super::super::diff::Shown;

/// A type a line, then its fields. After the colon: `s` text, `n` number, `b` truth value, `p` whatever may be absent,
/// `&T` a struct, `*T` one that may be absent, `[T` a list of structs.
const TYPES: &str = "\
PodSpec Volumes:[Volume InitContainers:[Container Containers:[Container EphemeralContainers:[EphemeralContainer RestartPolicy:s TerminationGracePeriodSeconds:p ActiveDeadlineSeconds:p DNSPolicy:s NodeSelector:p ServiceAccountName:s AutomountServiceAccountToken:p NodeName:s SecurityContext:*PodSecurityContext ImagePullSecrets:[Name Hostname:s Subdomain:s SetHostnameAsFQDN:p Affinity:p SchedulerName:s Tolerations:[Toleration HostAliases:p PriorityClassName:s Priority:p PreemptionPolicy:p DNSConfig:p ReadinessGates:p RuntimeClassName:p Overhead:p EnableServiceLinks:p TopologySpreadConstraints:p OS:p SchedulingGates:[Name ResourceClaims:p Resources:p HostnameOverride:p
PodSecurityContext HostNetwork:b HostPID:b HostIPC:b ShareProcessNamespace:p HostUsers:p SELinuxOptions:p WindowsOptions:p RunAsUser:p RunAsGroup:p RunAsNonRoot:p SupplementalGroups:p SupplementalGroupsPolicy:p FSGroup:p FSGroupChangePolicy:p Sysctls:p SeccompProfile:p AppArmorProfile:p SELinuxChangePolicy:p
Container Name:s Image:s Command:p Args:p WorkingDir:s Ports:[Port EnvFrom:p Env:[Env Resources:&Resources ResizePolicy:p RestartPolicy:p RestartPolicyRules:p VolumeMounts:[Mount VolumeDevices:p LivenessProbe:*Probe ReadinessProbe:*Probe StartupProbe:*Probe Lifecycle:p TerminationMessagePath:s TerminationMessagePolicy:s ImagePullPolicy:s SecurityContext:p Stdin:b StdinOnce:b TTY:b
EphemeralContainer Name:s Image:s Command:p Args:p WorkingDir:s Ports:[Port EnvFrom:p Env:[Env Resources:&Resources ResizePolicy:p RestartPolicy:p RestartPolicyRules:p VolumeMounts:[Mount VolumeDevices:p LivenessProbe:*Probe ReadinessProbe:*Probe StartupProbe:*Probe Lifecycle:p TerminationMessagePath:s TerminationMessagePolicy:s ImagePullPolicy:s SecurityContext:p Stdin:b StdinOnce:b TTY:b TargetContainerName:s
Name Name:s
Port Name:s HostPort:n ContainerPort:n Protocol:s HostIP:s
Env Name:s Value:s ValueFrom:p
Resources Limits:p Requests:p Claims:p
Mount Name:s ReadOnly:b RecursiveReadOnly:p MountPath:s SubPath:s MountPropagation:p SubPathExpr:s
Probe Exec:p HTTPGet:*HTTPGet TCPSocket:p GRPC:p InitialDelaySeconds:n TimeoutSeconds:n PeriodSeconds:n SuccessThreshold:n FailureThreshold:n TerminationGracePeriodSeconds:p
HTTPGet Path:s Port:n Host:s Scheme:s HTTPHeaders:p
Toleration Key:s Operator:s Value:s Effect:s TolerationSeconds:p
Volume Name:s HostPath:p EmptyDir:*EmptyDir GCEPersistentDisk:p AWSElasticBlockStore:p GitRepo:p Secret:*SecretSource NFS:p ISCSI:p Glusterfs:p PersistentVolumeClaim:*Claim RBD:p Quobyte:p FlexVolume:p Cinder:p CephFS:p Flocker:p DownwardAPI:p FC:p AzureFile:p ConfigMap:*MapSource VsphereVolume:p AzureDisk:p PhotonPersistentDisk:p Projected:*Projected PortworxVolume:p ScaleIO:p StorageOS:p CSI:p Ephemeral:p Image:p
EmptyDir Medium:s SizeLimit:p
SecretSource SecretName:s Items:p DefaultMode:p Optional:p
Claim ClaimName:s ReadOnly:b
MapSource Name:s Items:[Item DefaultMode:p Optional:p
Projected Sources:[Projection DefaultMode:p
Projection Secret:*MapProjection DownwardAPI:*Downward ConfigMap:*MapProjection ServiceAccountToken:*TokenSource ClusterTrustBundle:p PodCertificate:p
MapProjection Name:s Items:[Item Optional:p
Item Key:s Path:s Mode:p
Downward Items:[DownwardItem
DownwardItem Path:s FieldRef:*FieldRef ResourceFieldRef:p Mode:p
FieldRef APIVersion:s FieldPath:s
TokenSource Audience:s ExpirationSeconds:n Path:s
";

/// The specification of a pod.
pub(super) fn spec(spec: &Value) -> Shown {
    let mut spec = spec.clone();
    // The server's own type keeps what concerns the host with the rest of the pod's security.
    if spec["securityContext"].is_object() {
        for field in [
            "hostNetwork",
            "hostPID",
            "hostIPC",
            "shareProcessNamespace",
            "hostUsers",
        ] {
            spec["securityContext"][field] = spec[field].clone();
        }
    }
    of("PodSpec", &spec)
}

/// A container that was added to a pod.
pub(super) fn ephemeral(container: &Value) -> Shown {
    of("EphemeralContainer", container)
}

fn of(name: &str, value: &Value) -> Shown {
    let line = TYPES
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let fields = line
        .unwrap_or_default()
        .split(' ')
        .filter_map(|field| field.split_once(':'));
    let shown = fields.map(|(field, form)| (field.to_owned(), shown(form, &value[json_name(field)])));
    Shown::Fields(shown.collect())
}

fn shown(form: &str, value: &Value) -> Shown {
    let (mark, name) = form.split_at(1);
    match (mark, value) {
        ("&", _) => of(name, value),
        ("s", Value::Null) => Shown::Plain("".into()),
        ("n", Value::Null) => Shown::Plain(0.into()),
        ("b", Value::Null) => Shown::Plain(false.into()),
        ("*", Value::Object(_)) => of(name, value),
        ("[", Value::Array(items)) => Shown::List(items.iter().map(|item| of(name, item)).collect()),
        _ => Shown::of(value),
    }
}

/// `DNSPolicy` is `dnsPolicy`, and `OS` is `os`.
fn json_name(field: &str) -> String {
    let upper = field.bytes().take_while(u8::is_ascii_uppercase).count();
    let small = if upper > 1 && upper < field.len() {
        upper - 1
    } else {
        upper
    };
    field[..small].to_ascii_lowercase() + &field[small..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_fields_begin_small() {
        let names = ["DNSPolicy", "OS", "HTTPGet", "Name", "SELinuxOptions", "HostPID"].map(json_name);
        assert_eq!(
            names,
            ["dnsPolicy", "os", "httpGet", "name", "seLinuxOptions", "hostPID"]
        );
    }
}
