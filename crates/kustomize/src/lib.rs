//! kustomize build over a Tree.
