use super::*;
use crate::run_args::parse;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/srv:/bin/sh\n";
const GROUP: &str = "web:x:33:\nlog:x:7:web\n";

fn config(json: &str) -> ImageConfig {
    let text = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{json},"rootfs":{{"type":"layers","diff_ids":[]}}}}"#
    );
    ImageConfig::parse(text.as_bytes(), 0).unwrap()
}

fn resolved(line: &str, json: &str, inherited: &[(&str, &str)]) -> Result<(App, Vec<Volume>), String> {
    let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let request = parse(&[], &arguments).unwrap();
    let accounts = Accounts { passwd: PASSWD.to_owned(), group: GROUP.to_owned() };
    let image = AppImage { digest: Digest::of(b""), config: config(json), accounts };
    let inherited = inherited.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let pod = PodEnvironment { inherited: inherited.collect(), set: request.environment.clone() };
    let mut volumes = request.volumes.clone();
    let app = resolve("app", &request.apps[0], &image, &pod, &mut volumes);
    let chain = |error: ResolveError| format!("{error}: {}", std::error::Error::source(&error).unwrap());
    app.map(|app| (app, volumes)).map_err(chain)
}

#[test]
fn commands() {
    let check =
        |line: &str, json: &str, expected: Result<&[&str], &str>| match (resolved(line, json, &[]), expected)
        {
            (Ok((app, _)), Ok(expected)) => assert_eq!(app.arguments, expected, "{line}"),
            (Err(error), Err(excerpt)) => assert!(error.contains(excerpt), "{line}: {error}"),
            (other, _) => panic!("{line}: {other:?}"),
        };
    let image = r#"{"Entrypoint":["/e"],"Cmd":["c"]}"#;
    check("x", image, Ok(&["/e", "c"]));
    check("x -- d e", image, Ok(&["/e", "d", "e"]));
    check("x --exec=/f", image, Ok(&["/f"]));
    check("x --exec=/f -- g", image, Ok(&["/f", "g"]));
    check("x", "{}", Err("app app: the image has no command"));
    check("x --user=none", image, Err("no user \"none\""));
}

#[test]
fn users() {
    let check = |line: &str, user: &str, expected: (u32, u32, &[u32])| {
        let json = format!(r#"{{"Cmd":["c"],"User":{user:?}}}"#);
        let (app, _) = resolved(line, &json, &[]).unwrap();
        assert_eq!((app.uid, app.gid, app.groups.as_slice()), expected, "{line} {user}");
    };
    check("x", "", (0, 0, &[]));
    check("x", "web", (33, 33, &[7]));
    check("x --group=log", "web", (33, 7, &[]));
    check("x --user=1 --group=2", "web", (1, 2, &[]));
    check("x --supplementary-gids=5,6", "web", (33, 33, &[7, 5, 6]));
}

#[test]
fn the_order_of_environments() {
    let json = r#"{"Cmd":["c"],"Env":["A=image","B=image","C=image"]}"#;
    let line = "--set-env=B=pod --set-env=C=pod x --environment=C=app";
    let (app, _) = resolved(line, json, &[("A", "host"), ("D", "host"), ("PATH", "/host")]).unwrap();
    let value = |name: &str| {
        let found: Vec<_> = app.environment.iter().filter(|(one, _)| one == name).collect();
        assert_eq!(found.len(), 1, "{name}");
        found[0].1.clone()
    };
    let found = ["A", "B", "C", "D", "PATH", "HOME", "AC_APP_NAME"].map(value);
    assert_eq!(found, ["image", "pod", "app", "host", "/host", "/root", "app"]);
}

#[test]
fn declared_mount_points_have_volumes() {
    let json = r#"{"Cmd":["c"],"Volumes":{"/var/lib/data":{},"/cache":{}}}"#;
    let line = "--volume volume-var-lib-data,kind=host,source=/srv --volume m,kind=empty x --mount volume=m,target=/cache/";
    let (app, volumes) = resolved(line, json, &[]).unwrap();
    let mounts: Vec<_> =
        app.mounts.iter().map(|mount| (mount.volume.as_str(), mount.target.as_str())).collect();
    assert_eq!(mounts, [("m", "/cache/"), ("volume-var-lib-data", "/var/lib/data")]);
    assert_eq!(volumes.len(), 2);
    let (app, volumes) = resolved("x", json, &[]).unwrap();
    assert_eq!((app.mounts.len(), volumes.len()), (2, 2));
    assert!(app.mounts.iter().all(|mount| volumes.iter().any(|volume| volume.name == mount.volume)));
}
