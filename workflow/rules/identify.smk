# What must hold before anything is made: the files that the configuration names are there, and they are what the results
# here were made from.
#
# Pictures are known by a fingerprint of their listing, in results/sources/. It is not computed here: as long as paths,
# sizes and times are as they were, the pictures are. Where they are not, all other jobs wait for one that lists the
# pictures again and fails for other ones. It is a checkpoint because a checkpoint, unlike an input, makes nothing anew,
# and every rule names it because Snakemake forgets only of jobs that do why they were to run before it.

from functools import cache

from mpdit.results.sources import source_problems, to_list_again


def checked(wildcards):
    """No input. Stops with one line where what is here cannot be trusted, before anything is made from it."""
    if workflow.is_main_process:  # a job that parses the workflow for itself is one that was allowed to run
        for source in sources_to_list_again():
            checkpoints.identify.get(source=source)
    return []


@cache
def sources_to_list_again():
    """Names of the pictures that must be listed again before anything else. Exits where a line says why."""
    if any(trigger.name == "CODE" for trigger in workflow.dag_settings.rerun_triggers):
        profile = shlex.quote(str(Path(workflow.basedir) / "profiles/default"))
        sys.exit(
            f"rerun-triggers: code is among them, so an edited rule would train its runs again; run Snakemake with "
            f"--workflow-profile {profile} or with --rerun-triggers mtime params input"
        )
    try:
        problems = list(source_problems(experiment, Path("results"), FINISHED, needs_pictures=not workflow.dryrun))
        if problems:
            sys.exit("\n".join(f"{CONFIGURATION}: {line}" for line in problems))
        changed = to_list_again(experiment, Path("results"))
    except UserError as error:  # a damaged file
        sys.exit(str(error))
    for pictures in changed:
        again = "made again" if pictures.is_statistics else "listed again before anything else"
        print(f"{pictures.field}: {pictures.path}: is not as it was, will be {again}", file=sys.stderr)
        if pictures.is_statistics:  # also where the new file is the older one
            counts = {protocol.count for protocol in experiment.protocols.values()}
            workflow.dag.forcefiles.update(REFERENCE.format(sample_count=count) for count in counts)
    names = [pictures.name for pictures in changed if not pictures.is_statistics]
    workflow.dag.forcefiles.update(KNOWN.format(source=name) for name in names)
    return [] if workflow.dryrun else names


localrules:
    identify,


checkpoint identify:
    output:
        update(KNOWN),  # which Snakemake does not delete beforehand
    log:
        "results/logs/identify/{source}.log",
    priority: 2
    shell:
        "{MPDIT} identify {STUDY:q} {wildcards.source} --log {log}"
