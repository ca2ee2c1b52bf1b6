"""Tuning jobs that really run: trials one after another, each a training job, their values drawn from the ranges."""

from __future__ import annotations

import json
import math
import random
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from wire.server import RefusalError, Wire, arn, paged, until
from wire.training import Job, Training, now


@dataclass
class Tuned:
    """A tuning job: what was asked, and its trials."""

    request: dict[str, Any]
    created: datetime
    status: str = "InProgress"
    reason: str = ""
    ended: datetime | None = None
    trials: list[Job] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.request["HyperParameterTuningJobName"])

    @property
    def config(self) -> dict[str, Any]:
        found: dict[str, Any] = self.request["HyperParameterTuningJobConfig"]
        return found


class Tuning:
    """The tuning jobs of a wire. Values are drawn at random by the job's seed: no strategy is played."""

    def __init__(self, wire: Wire, training: Training) -> None:
        self.wire, self.training = wire, training
        self.jobs: dict[str, Tuned] = {}
        self._threads: list[threading.Thread] = []
        for operation, answer in {
            "CreateHyperParameterTuningJob": self.create, "DescribeHyperParameterTuningJob": self.describe,
            "ListHyperParameterTuningJobs": self.listed, "StopHyperParameterTuningJob": self.stop,
            "ListTrainingJobsForHyperParameterTuningJob": self.trials,
        }.items():  # fmt: skip
            wire.on(f"SageMaker.{operation}", answer)
        wire.ending(self.end)

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["HyperParameterTuningJobName"]
        with self.wire.lock:
            if name in self.jobs:
                raise RefusalError("ResourceInUse", "Hyper parameter tuning job names must be unique")
            self._refuse_unsound(request)
            tuned = self.jobs[name] = Tuned(request, now())
        thread = threading.Thread(target=self._run, args=(tuned,), daemon=True)
        self._threads.append(thread)
        thread.start()
        return {"HyperParameterTuningJobArn": arn("hyper-parameter-tuning-job", name)}

    def _refuse_unsound(self, request: Mapping[str, Any]) -> None:
        """What SageMaker refuses beyond its model: an objective that nothing measures, ranges that are fixed, too."""
        config, definition = request["HyperParameterTuningJobConfig"], request["TrainingJobDefinition"]
        self.training.refuse_unsound(definition)
        measured = {one["Name"] for one in definition["AlgorithmSpecification"].get("MetricDefinitions", [])}
        if config["HyperParameterTuningJobObjective"]["MetricName"] not in measured:
            raise RefusalError("ValidationException", "The objective metric is not among the metric definitions")
        ranged = {one["Name"] for ranges in config["ParameterRanges"].values() for one in ranges}
        both = ranged & set(definition.get("StaticHyperParameters", {}))
        if both:
            raise RefusalError("ValidationException", f"Hyperparameters are static and tunable at once: {sorted(both)}")
        hyperband = config["Strategy"] == "Hyperband"
        if hyperband and config.get("TrainingJobEarlyStoppingType", "Off") != "Off":
            raise RefusalError("ValidationException", "TrainingJobEarlyStoppingType must be Off with Hyperband")
        if hyperband != ("StrategyConfig" in config):
            raise RefusalError("ValidationException", "StrategyConfig goes with Hyperband, and Hyperband with it")
        for one in config["ParameterRanges"].get("ContinuousParameterRanges", []):
            low, high = float(one["MinValue"]), float(one["MaxValue"])
            scaling = one.get("ScalingType", "Auto")
            if low >= high or (scaling == "Logarithmic" and low <= 0) or (scaling.startswith("Rev") and high >= 1):
                raise RefusalError("ValidationException", f"The range of {one['Name']} does not fit its scaling")

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        with self.wire.lock:
            tuned = self._job(request)
            asked = {name: value for name, value in tuned.request.items() if name != "Tags"}
            best = min((one for one in tuned.trials if self._objective(one)), key=self._reached, default=None)
            found = asked | self._summary(tuned) | {"LastModifiedTime": now()}
            wall = (tuned.ended or now()) - tuned.created  # which is not what the trials are billed
            found["ConsumedResources"] = {"RuntimeInSeconds": round(wall.total_seconds())}
            found |= {"BestTrainingJob": self._trial(best)} if best else {}
            return found | ({"FailureReason": tuned.reason} if tuned.reason else {})

    def listed(self, request: dict[str, Any]) -> dict[str, Any]:
        with self.wire.lock:
            rows = [
                self._summary(one) | {"Strategy": one.config["Strategy"]}
                for one in reversed(self.jobs.values())
                if request.get("NameContains", "") in one.name
            ]
        return paged(rows, request, "HyperParameterTuningJobSummaries")

    def trials(self, request: dict[str, Any]) -> dict[str, Any]:
        with self.wire.lock:
            rows = [self._trial(one) for one in self._job(request).trials]
        return paged(rows, request, "TrainingJobSummaries")

    def stop(self, request: dict[str, Any]) -> dict[str, Any]:
        with self.wire.lock:
            tuned = self._job(request)
            if tuned.status == "InProgress":
                tuned.status = "Stopping"
                for one in tuned.trials:
                    one.stopping = True
        return {}

    def end(self) -> None:
        for tuned in self.jobs.values():
            tuned.status = "Stopping" if tuned.status == "InProgress" else tuned.status
        for thread in self._threads:
            thread.join(20)

    def _job(self, request: Mapping[str, Any]) -> Tuned:
        name = request["HyperParameterTuningJobName"]
        if name not in self.jobs:
            raise RefusalError("ResourceNotFound", f"Amazon SageMaker can't find a tuning job with name: {name}")
        return self.jobs[name]

    def _run(self, tuned: Tuned) -> None:
        limits = tuned.config["ResourceLimits"]
        chance = random.Random(tuned.config.get("RandomSeed", 0))
        for number in range(limits["MaxNumberOfTrainingJobs"]):
            if tuned.status != "InProgress":
                break
            values = drawn(tuned.config["ParameterRanges"], chance)
            job = self._started(tuned, f"{tuned.name}-{number + 1:03d}-{uuid.uuid4().hex[:8]}", values)
            until(lambda job=job: job.ended is not None, 600)  # type: ignore[misc]
        with self.wire.lock:
            tuned.ended = now()
            reached = [one for one in tuned.trials if self._objective(one)]
            if tuned.status == "Stopping":
                tuned.status = "Stopped"
            elif reached:
                tuned.status = "Completed"
            else:
                tuned.status, tuned.reason = "Failed", "No objective metrics found after running all training jobs"

    def _started(self, tuned: Tuned, name: str, values: Mapping[str, str]) -> Job:
        definition = dict(tuned.request["TrainingJobDefinition"])
        objective = tuned.config["HyperParameterTuningJobObjective"]["MetricName"]
        settings = definition.pop("StaticHyperParameters", {}) | dict(values) | {"_tuning_objective_metric": objective}
        with self.wire.lock:
            job = Job({"TrainingJobName": name, **definition, "HyperParameters": settings}, now())
            job.tuning, job.tuned = tuned.name, values
            tuned.trials.append(job)
            self.training.start(job)
        return job

    def _objective(self, job: Job) -> dict[str, Any]:
        named = self.jobs[job.tuning].config["HyperParameterTuningJobObjective"]
        reached = job.metrics.get(named["MetricName"]) if job.status == "Completed" else None
        return {"Type": named["Type"], "MetricName": named["MetricName"], "Value": reached["Value"]} if reached else {}

    def _reached(self, job: Job) -> float:
        value = float(self._objective(job)["Value"])
        return value if self._objective(job)["Type"] == "Minimize" else -value

    def _summary(self, tuned: Tuned) -> dict[str, Any]:
        states = [one.status for one in tuned.trials]
        reached = sum(bool(self._objective(one)) for one in tuned.trials)
        done = sum(one.ended is not None for one in tuned.trials)
        found = {
            "HyperParameterTuningJobName": tuned.name,
            "HyperParameterTuningJobArn": arn("hyper-parameter-tuning-job", tuned.name),
            "HyperParameterTuningJobStatus": tuned.status,
            "CreationTime": tuned.created,
            "TrainingJobStatusCounters": {
                "Completed": states.count("Completed"), "InProgress": len(states) - done, "RetryableError": 0,
                "NonRetryableError": states.count("Failed"), "Stopped": states.count("Stopped"),
            },
            "ObjectiveStatusCounters": {"Succeeded": reached, "Pending": len(states) - done, "Failed": done - reached},
        }  # fmt: skip
        return found | ({"HyperParameterTuningEndTime": tuned.ended} if tuned.ended else {})

    def _trial(self, job: Job) -> dict[str, Any]:
        found: dict[str, Any] = {
            "TrainingJobName": job.name, "TrainingJobArn": arn("training-job", job.name),
            "CreationTime": job.created, "TrainingJobStatus": job.status, "TunedHyperParameters": dict(job.tuned),
        }  # fmt: skip
        if self._objective(job):
            found |= {"FinalHyperParameterTuningJobObjectiveMetric": self._objective(job)}
        found |= {"TrainingStartTime": job.started} if job.started else {}
        found |= {"TrainingEndTime": job.ended} if job.ended else {}
        found |= {"ObjectiveStatus": "Succeeded" if self._objective(job) else "Failed" if job.ended else "Pending"}
        return found | ({"FailureReason": job.reason} if job.reason else {})


def drawn(ranges: Mapping[str, list[dict[str, Any]]], chance: random.Random) -> dict[str, str]:
    """A value of each range, as a trial gets it: numbers as strings, choices quoted as JSON once more."""
    values = {}
    for kind, listed in ranges.items():
        for one in listed:
            if kind == "CategoricalParameterRanges":
                values[one["Name"]] = json.dumps(chance.choice(one["Values"]))
                continue
            low, high = float(one["MinValue"]), float(one["MaxValue"])
            value = chance.uniform(low, high)
            if one.get("ScalingType") == "Logarithmic":
                value = math.exp(chance.uniform(math.log(low), math.log(high)))
            values[one["Name"]] = str(round(value) if kind == "IntegerParameterRanges" else value)
    return values
