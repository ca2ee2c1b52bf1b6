"""Jobs as they are now: what SageMaker says of one, its log as it comes, and the list of all."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from binventory.cloud import jobs
from binventory.cloud.session import Session, ask, pages
from binventory.errors import BinventoryError, InputError, MissingError, OutsideError, UsageError

GROUP = "/aws/sagemaker/TrainingJobs"
ENDED = frozenset({"Completed", "Failed", "Stopped"})
_LATE = 2
"""How often the log is read once more when a job ends while it is watched: its last lines come late."""


@dataclass(frozen=True, slots=True)
class Step:
    """A state that a job has come to, and what SageMaker says of it."""

    at: datetime
    status: str
    message: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line that one of a job's instances printed. ``host``: ``algo-1`` …"""

    host: str
    text: str


@dataclass(frozen=True, slots=True)
class Trial:
    """A training job of a tuning job: its settings, and what it reached, None where it has not (yet).

    ``seconds``: of training; ``billed``: those that are paid for; both None until they are known.
    """

    name: str
    status: str
    settings: Mapping[str, str]
    objective: float | None
    reason: str = ""
    seconds: int | None = None
    billed: int | None = None


@dataclass(frozen=True, slots=True)
class State:
    """What SageMaker says of a job.

    ``kind``: training or tuning. ``seconds``: of training, summed over its trials where it tunes, however many ran at
    once; ``billed``: those that are paid for, None until that is known. ``artifacts``: the address of its bundle.
    """

    kind: str
    name: str
    status: str
    steps: tuple[Step, ...] = ()
    reason: str = ""
    artifacts: str = ""
    instance: str = ""
    count: int = 1
    spot: bool = False
    created: datetime | None = None
    seconds: int | None = None
    billed: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    trials: tuple[Trial, ...] = ()
    best: Trial | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.status in ENDED

    @property
    def saved(self) -> float:
        """The share of the seconds that spot instances saved."""
        return 1 - self.billed / self.seconds if self.spot and self.seconds and self.billed is not None else 0.0


def training(described: Mapping[str, Any]) -> State:
    """What ``describe_training_job`` answers, as a state. Pure."""
    resources = described.get("ResourceConfig", {})
    steps = tuple(
        Step(one["StartTime"], one["Status"], one.get("StatusMessage", ""))
        for one in described.get("SecondaryStatusTransitions", [])
    )
    return State(
        "training", described["TrainingJobName"], described["TrainingJobStatus"], steps,
        described.get("FailureReason", ""), described.get("ModelArtifacts", {}).get("S3ModelArtifacts", ""),
        resources.get("InstanceType", ""), resources.get("InstanceCount", 1),
        described.get("EnableManagedSpotTraining", False), described.get("CreationTime"),
        described.get("TrainingTimeInSeconds"), described.get("BillableTimeInSeconds"),
        {one["MetricName"]: one["Value"] for one in described.get("FinalMetricDataList", [])},
    )  # fmt: skip


def tuning(described: Mapping[str, Any], listed: list[dict[str, Any]]) -> State:
    """What ``describe_hyper_parameter_tuning_job`` answers, and its trials, as a state. Pure.

    ``ConsumedResources`` is the wall clock of the whole, and says nothing of what is paid where trials run at once.
    """
    definition = described.get("TrainingJobDefinition", {})
    resources = definition.get("ResourceConfig", {})
    spot = definition.get("EnableManagedSpotTraining", False)
    trials = tuple(_trial(one, spot) for one in listed)
    reached = [one for one in trials if one.objective is not None and one.status == "Completed"]
    return State(
        "tuning", described["HyperParameterTuningJobName"], described["HyperParameterTuningJobStatus"], (),
        described.get("FailureReason", ""), "", resources.get("InstanceType", ""), resources.get("InstanceCount", 1),
        spot, described.get("CreationTime"), _sum(one.seconds for one in trials), _sum(one.billed for one in trials),
        {}, trials, min(reached, key=lambda one: one.objective or 0.0, default=None),
    )  # fmt: skip


def _sum(seconds: Iterable[int | None]) -> int | None:
    """What is known of them together, None where nothing is."""
    known = [one for one in seconds if one is not None]
    return sum(known) if known else None


def _trial(listed: Mapping[str, Any], spot: bool) -> Trial:
    """A trial as the list has it. Between start and end every second is paid for, but on spot instances."""
    reached = listed.get("FinalHyperParameterTuningJobObjectiveMetric", {}).get("Value")
    settings = {name: jobs.unquoted(value) for name, value in listed.get("TunedHyperParameters", {}).items()}
    started, ended = listed.get("TrainingStartTime"), listed.get("TrainingEndTime")
    seconds = round((ended - started).total_seconds()) if started and ended else None
    return Trial(
        listed["TrainingJobName"], listed["TrainingJobStatus"], settings, reached, listed.get("FailureReason", ""),
        seconds, None if spot else seconds,
    )  # fmt: skip


def look(aws: Session, name: str) -> State:
    """A job by its name, whichever kind it is. Raises MissingError where there is none, else as ``session.told``."""
    sagemaker = aws.client("sagemaker")
    what = f"Job {name} cannot be seen"
    try:
        return training(ask(sagemaker, "describe_training_job", what, TrainingJobName=name))
    except MissingError:
        pass
    if len(name) > 32:  # the longest that a tuning job may be called
        raise MissingError(f"Job {name} does not exist", f"{aws.region} has none of that name", "binventory cloud jobs")
    try:
        told = ask(sagemaker, "describe_hyper_parameter_tuning_job", what, HyperParameterTuningJobName=name)
    except MissingError:
        raise MissingError(
            f"Job {name} does not exist", f"{aws.region} has none of that name", "binventory cloud jobs"
        ) from None
    state = tuning(told, _trials_of(aws, name))
    return _billed(aws, state) if state.spot and state.ended else state


def _billed(aws: Session, state: State) -> State:
    """A tuning job with what its trials on spot instances are paid for, which each of them alone tells."""
    sagemaker = aws.client("sagemaker")
    trials = []
    for one in state.trials:
        told = ask(sagemaker, "describe_training_job", f"Job {one.name} cannot be seen", TrainingJobName=one.name)
        its = training(told)
        trials.append(replace(one, seconds=its.seconds, billed=its.billed))
    seconds, billed = _sum(one.seconds for one in trials), _sum(one.billed for one in trials)
    return replace(state, trials=tuple(trials), seconds=seconds, billed=billed)


def _trials_of(aws: Session, name: str) -> list[dict[str, Any]]:
    """The trials of a tuning job, oldest first; none where the service keeps no such list."""
    sagemaker = aws.client("sagemaker")
    return list(pages(
        sagemaker, "list_training_jobs_for_hyper_parameter_tuning_job", f"The trials of {name} cannot be seen",
        "TrainingJobSummaries", HyperParameterTuningJobName=name, SortBy="CreationTime", SortOrder="Ascending",
    ))  # fmt: skip


def follow(aws: Session, name: str, pause: Callable[[], None]) -> Iterator[Line | Step | Trial | State]:
    """A job as it goes on: states that it comes to, lines that it prints, trials that end; its last State ends it.

    ``pause`` waits between two looks. A log that may not be read is told once, as a Step, and the rest is followed.
    Raises as ``look`` does.
    """
    log = _Log(aws, name)
    told, steps, left = dict[str, str](), 0, 0
    while True:
        state = look(aws, name)
        left = left - 1 if state.ended else _LATE
        yield from state.steps[steps:]
        steps = len(state.steps)
        for trial in state.trials:
            if told.get(trial.name) != trial.status:
                told[trial.name] = trial.status
                yield trial
        if state.kind == "training":
            yield from log.read()
        if state.ended and (state.kind == "tuning" or left < 0):
            yield state
            return
        pause()


class _Log:
    """What a training job's instances have printed since one last looked."""

    def __init__(self, aws: Session, name: str) -> None:
        self._logs = aws.client("logs")
        self._name = name
        self._tokens: dict[str, str] = {}
        self._silent = False

    def read(self) -> Iterator[Line | Step]:
        """The lines that are new, instance by instance."""
        if self._silent:
            return
        what = f"The log of {self._name} cannot be read"
        try:
            streams = list(pages(self._logs, "describe_log_streams", what, "logStreams", logGroupName=GROUP,
                                 logStreamNamePrefix=f"{self._name}/"))  # fmt: skip
            for stream in streams:
                yield from self._lines(stream["logStreamName"], what)
        except MissingError:
            return  # nothing has been printed yet
        except InputError as error:
            self._silent = True
            yield Step(datetime.now().astimezone(), "Log", str(error))

    def _lines(self, stream: str, what: str) -> Iterator[Line]:
        host = re.sub(r"-\d+$", "", stream.rpartition("/")[2])
        while True:
            token = self._tokens.get(stream)
            page = ask(self._logs, "get_log_events", what, logGroupName=GROUP, logStreamName=stream,
                       startFromHead=True, **({"nextToken": token} if token else {}))  # fmt: skip
            for event in page["events"]:
                yield Line(host, event["message"])
            self._tokens[stream] = page["nextForwardToken"]
            if page["nextForwardToken"] == token or not page["events"]:
                return


def listed(aws: Session, most: int, pattern: str = jobs.FAMILY) -> Iterator[State]:
    """The newest training and tuning jobs whose names hold a pattern, at most so many of each; trials left out."""
    sagemaker = aws.client("sagemaker")
    what = "The jobs cannot be listed"
    newest = {"SortBy": "CreationTime", "SortOrder": "Descending", "NameContains": pattern}
    tunings = [
        one["HyperParameterTuningJobName"]
        for one in _first(pages(sagemaker, "list_hyper_parameter_tuning_jobs", what,
                                "HyperParameterTuningJobSummaries", **newest), most)
    ]  # fmt: skip
    for name in tunings:
        yield look(aws, name)
    own = (
        one["TrainingJobName"]
        for one in pages(sagemaker, "list_training_jobs", what, "TrainingJobSummaries", **newest)
        if not any(one["TrainingJobName"].startswith(f"{tuning}-") for tuning in tunings)
    )
    for name in _first(own, most):
        yield look(aws, name)


def _first(items: Iterator[Any], most: int) -> Iterator[Any]:
    for number, one in enumerate(items):
        if number == most:
            return
        yield one


def stop(aws: Session, name: str) -> State:
    """Ask for a job's end; one that has ended stays as it is. The state after it. Raises as ``look`` does."""
    state = look(aws, name)
    if state.ended or state.status == "Stopping":
        return state
    sagemaker, what = aws.client("sagemaker"), f"Job {name} cannot be stopped"
    if state.kind == "training":
        ask(sagemaker, "stop_training_job", what, TrainingJobName=name)
    else:
        ask(sagemaker, "stop_hyper_parameter_tuning_job", what, HyperParameterTuningJobName=name)
    return look(aws, name)


def failure(state: State) -> BinventoryError:
    """Why a job has not done what it should, with the next step. Pure."""
    what = f"Job {state.name} {'failed' if state.status == 'Failed' else 'was stopped'}"
    last = state.steps[-1].status if state.steps else ""
    if last == "MaxRuntimeExceeded":
        return OutsideError(what, "it reached the longest time that it was given", "a larger --max-hours")
    if last == "MaxWaitTimeExceeded":
        return OutsideError(what, "no spot instance was free for as long as it might wait", "a larger --max-hours, or "
                            "leave out --spot")  # fmt: skip
    if state.status == "Stopped":
        return OutsideError(what, "somebody stopped it", "start it again; a checkpoint is gone on from under --name")
    cause = state.reason.splitlines()[0] if state.reason else "SageMaker gives no reason"
    cause = re.sub(r"^AlgorithmError: ", "", cause)
    own = re.match(r"(.*)\. (.*?)\. Try: (.*?)\.?(, exit code: \d+)?$", cause)
    if own:  # a sentence of our own, from inside
        return OutsideError(what, f"{own[1]}. {own[2]}", own[3])
    if "CapacityError" in cause or "InsufficientCapacity" in cause:
        return OutsideError(what, cause, "another --instance, or another region")
    if "cannot assume" in cause.lower() or "AccessDenied" in cause or "not authorized" in cause:
        return InputError(what, cause, "give the role what docs/aws.md says it needs")
    return OutsideError(what, cause, f"read the log: binventory cloud attach {state.name}")


def refuse_absent(state: State) -> str:
    """The address of a job's bundle. Raises UsageError where a job leaves none by its kind, else ``failure``."""
    if state.kind == "tuning":
        trial = state.best.name if state.best else "TRIAL"
        raise UsageError(f"{state.name} leaves no bundle", "it is a tuning job, whose trials leave one each",
                         f"binventory cloud attach {trial} --out BUNDLE")  # fmt: skip
    if state.status != "Completed":
        raise failure(state)
    return state.artifacts
