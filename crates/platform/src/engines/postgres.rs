//! PostgreSQL with pgvector.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{Ctx, Error};
use crate::{
    locate,
    process::{Launch, RunAs},
    state,
};

/// The database that is made at the first start.
pub(super) const DATABASE: &str = "isa";

pub(super) async fn prepare(ctx: &Ctx<'_>) -> Result<Launch, Error> {
    let run_as = run_as(ctx)?;
    let data = data_folder(ctx, run_as)?;
    let cluster = data.join("cluster");
    if !cluster.join("PG_VERSION").is_file() {
        initialize(ctx, run_as, &data, &cluster).await?;
    }
    let settings = [
        format!("listen_addresses={}", ctx.bind),
        format!("port={}", ctx.port("client")),
        // TCP with a password is the one way in; a socket's path could also be too long for the kernel.
        "unix_socket_directories=".into(),
        "max_connections=200".into(),
        "shared_buffers=128MB".into(),
        "password_encryption=scram-sha-256".into(),
        "logging_collector=off".into(),
        "log_destination=stderr".into(),
        "timezone=UTC".into(),
    ];
    let mut args = vec!["-D".into(), cluster.clone().into_os_string()];
    args.extend(settings.into_iter().flat_map(|s| ["-c".into(), s.into()]));
    Ok(Launch {
        run_as,
        ..ctx.launch(&cluster, args)
    })
}

/// PostgreSQL refuses to be root: then it runs as an unprivileged user, who must be able to reach its program.
fn run_as(ctx: &Ctx<'_>) -> Result<Option<RunAs>, Error> {
    if !RunAs::needed() {
        return Ok(None);
    }
    let user = RunAs::unprivileged().ok_or_else(|| {
        Error::Unusable("PostgreSQL does not run as root, and there is no user `postgres` or `nobody` to run it as; run isa as a normal user".into())
    })?;
    if let Some(folder) = user.blocked_at(&ctx.program.program) {
        return Err(Error::Unusable(format!(
            "PostgreSQL does not run as root, and user {} may not pass {} to reach {}; set cache_dir to a folder that every user may pass, or run isa as a normal user",
            user.uid,
            folder.display(),
            ctx.program.program.display()
        )));
    }
    Ok(Some(user))
}

/// The data folder; where the other user cannot reach it below the state folder, a link to one that he can.
fn data_folder(ctx: &Ctx<'_>, run_as: Option<RunAs>) -> Result<PathBuf, Error> {
    let path = ctx.state.data(ctx.kind);
    let Some(user) = run_as.filter(|user| user.blocked_at(&path).is_some()) else {
        state::private_dir(&path, run_as)?;
        return Ok(path);
    };
    if let Ok(target) = fs::read_link(&path) {
        state::private_dir(&target, run_as)?;
        return Ok(target);
    }
    let id = hex::encode(&Sha256::digest(path.as_os_str().as_encoded_bytes())[..8]);
    let outside = Path::new("/var/lib/isa").join(id);
    let make = || {
        fs::create_dir_all(&outside)?;
        symlink(outside.join("postgres"), &path)
    };
    make().map_err(|e| state::io_error("make the folder", &outside, e))?;
    let target = outside.join("postgres");
    state::private_dir(&target, Some(user))?;
    Ok(target)
}

/// Makes the cluster in a folder of its own and moves it into place when it is whole.
async fn initialize(ctx: &Ctx<'_>, run_as: Option<RunAs>, data: &Path, cluster: &Path) -> Result<(), Error> {
    let staged = data.join("cluster.new");
    if staged.exists() {
        fs::remove_dir_all(&staged).map_err(|e| state::io_error("delete", &staged, e))?;
    }
    // In the data folder, because the configuration folder may be out of that user's reach.
    let private = |name: &str, text: &str| {
        let path = data.join(name);
        state::write_private(&path, text.as_bytes(), run_as).map(|()| path)
    };
    let password = private("password", ctx.password())?;
    let args = [
        "-D".into(),
        staged.clone().into_os_string(),
        "-U".into(),
        ctx.user().into(),
        "--pwfile".into(),
        password.clone().into_os_string(),
    ];
    let fixed = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"];
    let args = args.into_iter().chain(fixed.map(Into::into));
    let beside = |tool: &str| {
        locate::tool(ctx.program, tool).ok_or_else(|| {
            Error::Unusable(format!(
                "{tool} is missing beside postgres; install the whole package"
            ))
        })
    };
    ctx.run_tool(Launch {
        program: beside("initdb")?,
        run_as,
        ..ctx.launch(data, args)
    })
    .await?;
    let _ = fs::remove_file(&password);

    // A single-user server numbers what it makes on from the system's own objects, and pg_dump takes these for a part of
    // PostgreSQL: a dump would lack the extension. 16384 is FirstNormalObjectId.
    ctx.run_tool(Launch {
        program: beside("pg_resetwal")?,
        run_as,
        ..ctx.launch(
            data,
            [
                "--next-oid=16384".into(),
                "-D".into(),
                staged.clone().into_os_string(),
            ],
        )
    })
    .await?;

    // In template1, so that every database made later has it: the extension may only be created by a superuser.
    for (database, statement) in [
        ("template1", "CREATE EXTENSION vector;".to_owned()),
        ("template1", format!("CREATE DATABASE {DATABASE};")),
    ] {
        let stdin = private("initialize.sql", &format!("{statement}\n"))?;
        let args = [
            "--single".into(),
            "-D".into(),
            staged.clone().into_os_string(),
            "-j".into(),
            database.into(),
        ];
        ctx.run_tool(Launch {
            stdin: Some(stdin),
            run_as,
            ..ctx.launch(data, args)
        })
        .await?;
    }
    fs::rename(&staged, cluster).map_err(|e| state::io_error("move", &staged, e))?;
    Ok(())
}
