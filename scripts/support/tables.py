"""The figures of the benchmark as tables in Markdown, with the marks that they must meet."""

import statistics

import chart

# What `ucr pull` may take at most of another's time, for the image of seven layers.
TIME_MARKS = {"podman pull": 0.28, "skopeo copy + umoci unpack": 0.35, "floor": 1.25}
# What it may ever have in memory; xz needs its dictionaries.
MEMORY_MARK = 32e6
NO_MEMORY_MARK = ["xz"]
# Of the time and of the bytes of one, for a crowd.
CROWD_TIME_MARK, CROWD_BYTES_MARK = 1.3, 1.0
# Manifests and tokens are fetched by each of the crowd; layers are not.
SLACK = 0.01
CACHED_MARK = 1
# Of crun's time, and in milliseconds.
START_MARK, START_MS_MARK = 0.7, 10
# With a bridge and a published port: ucr's part of podman's time, and the time to the first instruction.
PUBLISHED_MARK, FIRST_MS_MARK = 0.08, 20
# Of the time of one start, for all at once.
STARTS_MARK = 24
# What each of the processes that wait while a task runs has for itself.
WAITING_MARK = 2e6


def show(figures):
    """Prints all tables and returns what is drawn of them."""
    panels = []
    for name, pulled in figures["pulls"].items():
        drawn = show_pull(name, pulled)
        if name == "layers":
            panels += drawn
    if "crowd" in figures:
        show_crowd(figures["crowd"])
    if "cached" in figures:
        show_cached(figures["cached"])
    if "start" in figures:
        panels.append(show_start(figures["start"]))
    if "first" in figures:
        show_first(figures["first"])
    if "starts" in figures:
        show_starts(figures["starts"])
    if "waiting" in figures:
        show_waiting(figures["waiting"])
    return panels


def mark(value, most):
    """Whether a value is within its mark, in words."""
    return f"at most {most:g}: {'pass' if value <= most else 'FAIL'}"


def median(runs, key):
    return statistics.median(run[key] for run in runs)


def kept(runs):
    """Seconds until all of it was on the disk, by the program itself or by a sync after it."""
    return statistics.median(run["seconds"] + run["sync_seconds"] for run in runs)


def show_pull(name, figures):
    runs = figures["runs"]
    ours = median(runs["ucr pull"], "seconds")
    ours_kept = kept(runs["ucr pull"])
    layers = f"{figures['layers']} layers" if figures["layers"] > 1 else "1 layer"
    size = f"{layers}, {figures['compressed_bytes'] / 1e6:.0f} MB compressed"
    print(f"\nCold pull and unpack, {figures['title']}: {size}\n")
    print("| | seconds (median) | least–most | then to disk | peak memory | ucr takes "
          "| to disk, ucr takes | |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |")
    for program, each in runs.items():
        every = [run["seconds"] for run in each]
        middle, peak = statistics.median(every), max(run["peak_bytes"] for run in each)
        print(f"| {program} | {middle:.2f} | {min(every):.2f}–{max(every):.2f} "
              f"| {median(each, 'sync_seconds'):.2f} | {peak / 1e6:.1f} MB | {ours / middle:.2f} "
              f"| {ours_kept / kept(each):.2f} | {pull_mark(name, program, ours / middle, peak)} |")
    return [
        chart.Panel("Cold pull and unpack", f"{size}, TLS registry on loopback, new ext4", "s",
                    ordered({program: median(each, "seconds") for program, each in runs.items()})),
        chart.Panel("Peak memory of the pull", "all processes of it together", "MB", ordered(
            {program: max(run["peak_bytes"] for run in each) / 1e6
             for program, each in runs.items()})),
    ]


def pull_mark(name, program, ratio, peak):
    if program == "ucr pull":
        within = mark(peak / 1e6, MEMORY_MARK / 1e6)
        return "" if name in NO_MEMORY_MARK else f"MB {within}"
    if name == "layers" and program in TIME_MARKS:
        return mark(ratio, TIME_MARKS[program])
    return ""


def show_crowd(runs):
    (_, one), (many, crowd) = runs.items()
    seconds, sent = (median(crowd, key) / median(one, key) for key in ("seconds", "sent_bytes"))
    print(f"\n{many} processes that pull the same missing image at once, beside one\n")
    print("| | one | all | times | |")
    print("| --- | ---: | ---: | ---: | --- |")
    print(f"| seconds until all are done | {median(one, 'seconds'):.2f} | {median(crowd, 'seconds'):.2f} "
          f"| {seconds:.2f} | {mark(seconds, CROWD_TIME_MARK)} |")
    print(f"| MB that the registry sent | {median(one, 'sent_bytes') / 1e6:.1f} "
          f"| {median(crowd, 'sent_bytes') / 1e6:.1f} | {sent:.3f} "
          f"| {mark(sent, CROWD_BYTES_MARK + SLACK)} |")


def show_cached(figures):
    middle = 1000 * statistics.median(figures["seconds"])
    print("\nPull of an image that is there\n")
    print("| ms (median) | requests | |")
    print("| ---: | ---: | --- |")
    print(f"| {middle:.1f} | {figures['requests']:g} | {mark(figures['requests'], CACHED_MARK)} |")


def show_start(figures):
    milliseconds = {
        name: [1000 * each for each in peer["seconds"]] for name, peer in figures.items()
    }
    middles = {name: statistics.median(every) for name, every in milliseconds.items()}
    print("\nStart to exit of `true`, cached image, 64 MB, 1 CPU, 100 processes\n")
    print("| | ms (median) | 90 of 100 below | limits | ucr takes | |")
    print("| --- | ---: | ---: | --- | ---: | --- |")
    for name, every in milliseconds.items():
        high = statistics.quantiles(every, n=10)[-1]
        peer = figures[name]
        own = "ucr run -p" if name.endswith(" -p") else "ucr run"
        part = middles[own] / middles[name]
        notes = [peer["note"]] if peer["note"] else []
        if name == "ucr run":
            notes.append(f"ms {mark(middles[name], START_MS_MARK)}")
        if name == "crun run":
            notes.append(mark(part, START_MARK))
        if name == "podman run -p":
            notes.append(mark(part, PUBLISHED_MARK))
        print(f"| {name} | {middles[name]:.1f} | {high:.1f} | {peer['limits']} "
              f"| {part:.2f} | {'; '.join(notes)} |")
    return chart.Panel("Start to exit of true", "cached image, limits of memory, CPU and processes "
                       "where the program has them", "ms", ordered(middles))


def show_first(figures):
    middle = 1000 * statistics.median(figures["seconds"])
    print("\nBridge with one published port, to the first byte of `echo`\n")
    print("| ms (median) | |\n| ---: | --- |")
    print(f"| {middle:.1f} | ms {mark(middle, FIRST_MS_MARK)} |")


def show_starts(figures):
    one, every = statistics.median(figures["one"]), statistics.median(figures["all"])
    print(f"\n{figures['count']} starts at once, beside one\n")
    print("| one, ms | all, ms | times | |\n| ---: | ---: | ---: | --- |")
    print(f"| {1000 * one:.1f} | {1000 * every:.1f} | {every / one:.1f} | {mark(every / one, STARTS_MARK)} |")


def show_waiting(figures):
    print("\nPrivate memory while a task runs\n")
    print("| | MB | |\n| --- | ---: | --- |")
    for name, size in figures.items():
        print(f"| {name} | {size / 1e6:.2f} | MB {mark(size / 1e6, WAITING_MARK / 1e6)} |")


def ordered(values):
    return sorted(values.items(), key=lambda item: item[1])
