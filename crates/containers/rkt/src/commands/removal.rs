//! Removal of a pod, with what a killed `rkt` left outside of its folder.

use crate::network;
use crate::pod_folder::PodFolder;
use crate::pods::Pods;

/// The caller has the pod's lock.
pub fn remove(pods: &Pods, pod: &mut PodFolder) -> anyhow::Result<()> {
    if pod.text("networks")?.is_some() {
        network::remove(&pod.uuid)?;
    }
    pods.remove(pod)
}
