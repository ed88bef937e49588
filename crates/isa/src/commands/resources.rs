//! `isa resources`

use std::process::ExitCode;

use isa_config::Config;
use isa_deploy::{
    Cluster, render_without_secrets,
    resources::{Total, of_cluster, of_manifests},
};

use super::{kubectl, overlay};
use crate::{
    cli::{Format, Resources},
    output::{self, say},
};

pub(super) async fn run(config: &Config, options: &Resources) -> anyhow::Result<ExitCode> {
    let (resources, from) = if options.at.kube {
        let cluster = Cluster::connect(options.at.context.as_deref()).await?;
        let from = format!(
            "what runs in {} at {}",
            options.at.namespace,
            cluster.place().server
        );
        (of_cluster(&cluster, &options.at.namespace).await?, from)
    } else {
        // Values do not matter here, and need not have been generated.
        let manifests = render_without_secrets(&kubectl(config)?, &overlay(&options.overlay)?).await?;
        (
            of_manifests(&manifests)?,
            format!("what overlay {} asks for", options.overlay),
        )
    };
    if options.output.output == Format::Json {
        output::print_json(&resources)?;
        return Ok(ExitCode::SUCCESS);
    }
    let used = resources.total.usage.is_some();
    let mut header = vec![
        "NAME",
        "LAYER",
        "PODS",
        "CPU",
        "CPU LIMIT",
        "MEMORY",
        "MEMORY LIMIT",
        "VOLUMES",
        "STORAGE",
    ];
    if used {
        header.extend(["CPU USED", "MEMORY USED"]);
    }
    let mut table = output::table(&header);
    for system in &resources.systems {
        table.add_row(row(&system.name, &system.layer, &system.total, used));
    }
    for layer in &resources.layers {
        table.add_row(row("all", &layer.layer, &layer.total, used));
    }
    if resources.layers.len() != 1 {
        table.add_row(row("all", "all", &resources.total, used));
    }
    output::print(table);
    say!("\nThis is {from}: CPU and MEMORY are requests, which nodes must have free.");
    Ok(ExitCode::SUCCESS)
}

fn row(name: &str, layer: &str, total: &Total, used: bool) -> Vec<String> {
    let demand = total.demand;
    let mut cells = vec![
        name.to_owned(),
        layer.to_owned(),
        total.pods.to_string(),
        demand.requests.cpu.cores().to_string(),
        demand.limits.cpu.cores().to_string(),
        demand.requests.memory.bytes().to_string(),
        demand.limits.memory.bytes().to_string(),
        total.claims.to_string(),
        total.storage.bytes().to_string(),
    ];
    if used {
        let usage = total.usage;
        cells.push(usage.map_or_else(|| "-".into(), |u| u.cpu.cores().to_string()));
        cells.push(usage.map_or_else(|| "-".into(), |u| u.memory.bytes().to_string()));
    }
    cells
}
