//! `run`, `prepare`, `run-prepared`, `cat-manifest`.

use anyhow::{Context as _, bail};
use command_line::{Flag, ParsedArgs, ValueKind};
use pod::{PodRequest, run_flags};

use crate::command::{Command, Run};
use crate::context::Context;
use crate::prepare::{self, Prepared};
use crate::stdout::print;
use crate::{launch, run_file};

const IMAGES: &str = "IMAGE [--exec PROGRAM] [-- ARGUMENTS] [--- IMAGE...]";

/// Flags of pods and apps on one page.
const FLAGS: &[Flag] = &{
    const COUNT: usize = run_flags::POD.len() + run_flags::APP.len();
    let mut all = [run_flags::POD[0]; COUNT];
    let mut at = 0;
    while at < COUNT {
        let of_pod = run_flags::POD.len();
        all[at] = if at < of_pod { run_flags::POD[at] } else { run_flags::APP[at - of_pod] };
        at += 1;
    }
    all
};

pub const RUN: Command = Command {
    name: "run",
    arguments: IMAGES,
    summary: "run a pod in the foreground",
    description: &[
        "The pod's apps write to rkt's standard output and error. The pod ends when all apps have",
        "exited, or one has failed; rkt exits with 0 or the status of the first app that failed, and",
        "with 254 if the pod could not be run. SIGTERM stops the apps.",
    ],
    flags: FLAGS,
    examples: &[
        (
            "rkt run --net=host docker://quay.io/coreos/etcd:v3.1.0",
            "run an image of a registry that a trusted key signed",
        ),
        (
            "rkt run --insecure-options=image docker://busybox --exec=/bin/date",
            "run another program, without the check of signatures",
        ),
        ("rkt run ./app.tar -- --verbose", "run the image in an archive of docker save or an OCI layout"),
        (
            "rkt run --volume data,kind=host,source=/srv docker://a --mount volume=data,target=/data",
            "mount a folder",
        ),
        (
            "rkt run --port=80-tcp:8080 docker://nginx --memory=128Mi",
            "forward a port of the host, limit memory",
        ),
    ],
    run: Run::Pod(run),
};

pub const PREPARE: Command = Command {
    name: "prepare",
    arguments: IMAGES,
    summary: "prepare a pod for run-prepared, and print its UUID",
    description: &[],
    flags: FLAGS,
    examples: &[("rkt prepare docker://busybox", "fetch and unpack the image now, run it later")],
    run: Run::Pod(prepare_only),
};

pub const RUN_PREPARED: Command = Command {
    name: "run-prepared",
    arguments: "UUID",
    summary: "run a prepared pod in the foreground",
    description: &[],
    flags: &[Flag::switch("interactive", "the only app has the terminal and standard input")],
    examples: &[("rkt run-prepared 0b6b5f2e", "run the pod")],
    run: Run::Action(run_prepared),
};

pub const CAT_MANIFEST: Command = Command {
    name: "cat-manifest",
    arguments: "UUID",
    summary: "print the manifest of a pod",
    description: &[],
    flags: &[
        Flag::new("uuid-file", ValueKind::File, "file with the pod's UUID"),
        Flag::switch("pretty-print", "indent the text").default("true"),
    ],
    examples: &[("rkt cat-manifest 0b6b5f2e", "print the manifest")],
    run: Run::Action(cat_manifest),
};

fn run(context: &Context, request: PodRequest) -> anyhow::Result<u8> {
    let pods = context.pods()?;
    let mut prepared = prepare::prepare(context, &pods, &request)?;
    // What was prepared is complete before it runs: an interruption here leaves a prepared pod.
    pods.move_to(&mut prepared.folder, crate::pods::PREPARED)?;
    save_uuid(&request, &prepared)?;
    launch::run(&pods, prepared)
}

fn prepare_only(context: &Context, request: PodRequest) -> anyhow::Result<u8> {
    let pods = context.pods()?;
    let mut prepared = prepare::prepare(context, &pods, &request)?;
    pods.move_to(&mut prepared.folder, crate::pods::PREPARED)?;
    pods.flush(&prepared.folder)?;
    save_uuid(&request, &prepared)?;
    print(&format!("{}\n", prepared.folder.uuid))?;
    Ok(0)
}

fn save_uuid(request: &PodRequest, prepared: &Prepared) -> anyhow::Result<()> {
    let file = request.flags.text("uuid-file-save");
    file.map_or(Ok(()), |path| run_file::save_uuid(path, &prepared.folder.uuid))
}

fn run_prepared(context: &Context, args: &ParsedArgs) -> anyhow::Result<u8> {
    let [uuid] = args.arguments.as_slice() else { bail!("exactly one UUID of a pod is required") };
    let pods = context.pods()?;
    let folder = pods.find(uuid)?;
    let state = folder.state()?;
    if folder.stage != crate::pods::PREPARED {
        bail!("pod {} is {state}; only prepared pods can be run", folder.uuid);
    }
    let lock = folder.lock()?;
    if !folder.path.exists() {
        bail!("pod {} has been started by another command", folder.uuid);
    }
    let mut manifest = folder.manifest()?;
    if args.is_set("interactive") {
        if manifest.apps.len() != 1 {
            bail!("--interactive needs exactly one app, not {}", manifest.apps.len());
        }
        manifest.interactive = true;
        folder.write_manifest(&manifest)?;
    }
    let trees = prepare::trees(&context.store()?, &manifest)?;
    launch::run(&pods, Prepared { folder, lock, trees, manifest })
}

fn cat_manifest(context: &Context, args: &ParsedArgs) -> anyhow::Result<u8> {
    let pods = super::selection::selected(&context.pods()?, args)?;
    let [folder] = pods.as_slice() else { bail!("exactly one UUID of a pod is required") };
    let manifest = folder.manifest().with_context(|| format!("pod {}", folder.uuid))?;
    let text = match args.text_or_default("pretty-print") {
        "true" => serde_json::to_string_pretty(&manifest)?,
        _ => serde_json::to_string(&manifest)?,
    };
    print(&format!("{text}\n"))?;
    Ok(0)
}
