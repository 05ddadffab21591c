//! `image.toolkit.fluxcd.io`: images that are watched, chosen, and written back to Git.

use std::collections::BTreeMap;

use crate::Duration;
use crate::meta::{
    AccessFrom, Condition, LabelSelector, LocalReference, NamespacedReference, SourceReference, Strings,
};
use crate::source::{CloudProvider, GitReference};

words! {
    /// When the digest of the chosen image is looked up.
    DigestReflectionPolicy {
        /// Never.
        Never = "Never",
        /// When another tag is chosen.
        IfNotPresent = "IfNotPresent",
        /// At every interval.
        Always = "Always",
    }
}

words! {
    /// Direction of an order; the last wins.
    Order {
        /// Ascending.
        Asc = "asc",
        /// Descending.
        Desc = "desc",
    }
}

words! {
    /// How files are updated.
    UpdateStrategyName {
        /// At marked fields.
        Setters = "Setters",
    }
}

words! {
    /// Kind of a signing key.
    SigningKeyType {
        /// OpenPGP.
        Gpg = "gpg",
        /// SSH.
        Ssh = "ssh",
    }
}

record! {
    /// What is wanted of an ImageRepository.
    ImageRepositorySpec {
        required {
            /// Image without a tag.
            image: String,
            /// How often its tags are listed.
            interval: Duration,
        }
        optional {
            /// How long one listing may take.
            timeout: Option<Duration>,
            /// Secret with credentials.
            secret_ref: Option<LocalReference>,
            /// Secret with certificates.
            cert_secret_ref: Option<LocalReference>,
            /// Secret with the proxy's address.
            proxy_secret_ref: Option<LocalReference>,
            /// Service account with pull secrets.
            service_account_name: Option<String>,
            /// Who answers for credentials.
            provider: CloudProvider,
            /// Whether plain HTTP is allowed.
            insecure: bool,
            /// Regular expressions of tags that do not count; signatures if absent.
            exclusion_list: Option<Vec<String>>,
            /// Who else may refer to it.
            access_from: Option<AccessFrom>,
            /// Whether it rests.
            suspend: bool,
        }
    }
}

record! {
    /// What came of a listing.
    ScanResult {
        required {
            /// How many tags there are.
            tag_count: i64,
        }
        optional {
            /// Digest over the tags.
            revision: Option<String>,
            /// When it ran (RFC 3339).
            scan_time: Option<String>,
            /// Some of them.
            latest_tags: Vec<String>,
        }
    }
}

record! {
    /// What was observed of an ImageRepository.
    ImageRepositoryStatus {
        optional {
            /// Generation that was handled last.
            observed_generation: i64,
            /// Conditions.
            conditions: Vec<Condition>,
            /// The image's full name.
            canonical_image_name: Option<String>,
            /// The last listing.
            last_scan_result: Option<ScanResult>,
            /// Exclusions that it was made with.
            observed_exclusion_list: Vec<String>,
            /// Token of the last handled request.
            last_handled_reconcile_at: Option<String>,
        }
    }
}

resource! {
    /// An image whose tags are watched.
    ImageRepository {
        spec: ImageRepositorySpec, status: ImageRepositoryStatus,
        group: "image.toolkit.fluxcd.io", version: "v1", plural: "imagerepositories"
    }
}

record! {
    /// Which tags count.
    TagFilter {
        optional {
            /// Regular expression.
            pattern: String,
            /// What of a match is compared, with `$name` for groups.
            extract: String,
        }
    }
}

record! {
    /// A range of versions.
    SemverPolicy {
        required {
            /// The range.
            range: String,
        }
    }
}

record! {
    /// An order.
    OrderPolicy {
        optional {
            /// Direction.
            order: Order,
        }
    }
}

record! {
    /// How one tag is chosen.
    ImagePolicyChoice {
        optional {
            /// The highest version of a range.
            semver: Option<SemverPolicy>,
            /// The last in order of letters.
            alphabetical: Option<OrderPolicy>,
            /// The last in order of numbers.
            numerical: Option<OrderPolicy>,
        }
    }
}

record! {
    /// What is wanted of an ImagePolicy.
    ImagePolicySpec {
        required {
            /// Where the tags come from.
            image_repository_ref: NamespacedReference,
            /// How one is chosen.
            policy: ImagePolicyChoice,
        }
        optional {
            /// Which tags count.
            filter_tags: Option<TagFilter>,
            /// When the digest is looked up.
            digest_reflection_policy: DigestReflectionPolicy,
            /// How often, if always.
            interval: Option<Duration>,
            /// Whether it rests.
            suspend: bool,
        }
    }
}

record! {
    /// One image.
    ImageReference {
        required {
            /// Name.
            name: String,
            /// Tag.
            tag: String,
        }
        optional {
            /// Digest.
            digest: Option<String>,
        }
    }
}

record! {
    /// What was observed of an ImagePolicy.
    ImagePolicyStatus {
        optional {
            /// Generation that was handled last.
            observed_generation: i64,
            /// Conditions.
            conditions: Vec<Condition>,
            /// The chosen image.
            latest_ref: Option<ImageReference>,
            /// The one before.
            observed_previous_ref: Option<ImageReference>,
            /// Token of the last handled request.
            last_handled_reconcile_at: Option<String>,
        }
    }
}

resource! {
    /// Chooses one tag of an image.
    ImagePolicy {
        spec: ImagePolicySpec, status: ImagePolicyStatus,
        group: "image.toolkit.fluxcd.io", version: "v1", plural: "imagepolicies"
    }
}

record! {
    /// What is checked out.
    GitCheckout {
        required {
            /// The reference.
            r#ref: GitReference,
        }
    }
}

record! {
    /// Who a commit is by.
    CommitAuthor {
        required {
            /// Address.
            email: String,
        }
        optional {
            /// Name.
            name: Option<String>,
        }
    }
}

record! {
    /// What commits are signed with.
    SigningKey {
        required {
            /// Secret with the key.
            secret_ref: LocalReference,
        }
        optional {
            /// Kind of the key.
            r#type: SigningKeyType,
        }
    }
}

record! {
    /// How commits are made.
    CommitSpec {
        required {
            /// Who they are by.
            author: CommitAuthor,
        }
        optional {
            /// What they are signed with.
            signing_key: Option<SigningKey>,
            /// Template of the message.
            message_template: Option<String>,
            /// Values for it.
            message_template_values: Strings,
        }
    }
}

record! {
    /// Where commits are pushed.
    PushSpec {
        optional {
            /// Branch.
            branch: Option<String>,
            /// Refspec.
            refspec: Option<String>,
            /// Push options.
            options: Strings,
        }
    }
}

record! {
    /// How Git is used.
    GitSpec {
        required {
            /// How commits are made.
            commit: CommitSpec,
        }
        optional {
            /// What is checked out.
            checkout: Option<GitCheckout>,
            /// Where commits are pushed.
            push: Option<PushSpec>,
        }
    }
}

record! {
    /// How files are updated.
    UpdateStrategy {
        optional {
            /// Which way.
            strategy: UpdateStrategyName,
            /// Folder.
            path: String,
        }
    }
}

record! {
    /// What is wanted of an ImageUpdateAutomation.
    ImageUpdateAutomationSpec {
        required {
            /// The GitRepository.
            source_ref: SourceReference,
            /// How often it runs.
            interval: Duration,
        }
        optional {
            /// How Git is used.
            git: Option<GitSpec>,
            /// Which policies count.
            policy_selector: Option<LabelSelector>,
            /// How files are updated.
            update: Option<UpdateStrategy>,
            /// Whether it rests.
            suspend: bool,
        }
    }
}

record! {
    /// What was observed of an ImageUpdateAutomation.
    ImageUpdateAutomationStatus {
        optional {
            /// Generation that was handled last.
            observed_generation: i64,
            /// Conditions.
            conditions: Vec<Condition>,
            /// When it ran last (RFC 3339).
            last_automation_run_time: Option<String>,
            /// The last commit.
            last_push_commit: Option<String>,
            /// When that was pushed (RFC 3339).
            last_push_time: Option<String>,
            /// Policies and their images.
            observed_policies: BTreeMap<String, ImageReference>,
            /// Revision of the source.
            observed_source_revision: Option<String>,
            /// Token of the last handled request.
            last_handled_reconcile_at: Option<String>,
        }
    }
}

resource! {
    /// Writes chosen images back to Git.
    ImageUpdateAutomation {
        spec: ImageUpdateAutomationSpec, status: ImageUpdateAutomationStatus,
        group: "image.toolkit.fluxcd.io", version: "v1", plural: "imageupdateautomations"
    }
}
