"""Training jobs that really run: channels from S3, the real toolkit in a clean environment, artifacts to S3."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wire.logs import Logs
from wire.server import REGION, RefusalError, Wire, arn, paged
from wire.store import Store

GRACE_SECONDS = 5.0
"""From SIGTERM to SIGKILL. SageMaker gives two minutes."""
GROUP = "/aws/sagemaker/TrainingJobs"
_TRAIN = "from sagemaker_training.cli.train import main; main()"
_ENDED = ("Completed", "Failed", "Stopped")


@dataclass
class Job:
    """A training job: what was asked, and how far it is."""

    request: dict[str, Any]
    created: datetime
    status: str = "InProgress"
    steps: list[dict[str, Any]] = field(default_factory=list)
    reason: str = ""
    started: datetime | None = None
    ended: datetime | None = None
    stopping: bool = False
    interrupted: bool = False
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    tuning: str = ""
    tuned: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.request["TrainingJobName"])

    @property
    def artifacts(self) -> str:
        return f"{self.request['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{self.name}/output/model.tar.gz"

    @property
    def seconds(self) -> int:
        return round(((self.ended or now()) - self.started).total_seconds()) if self.started else 0

    def step(self, status: str, message: str) -> None:
        """Go on to a secondary status."""
        if self.steps:
            self.steps[-1]["EndTime"] = now()
        self.steps.append({"Status": status, "StartTime": now(), "StatusMessage": message})


class Training:
    """The training jobs of a wire. ``folder``: where their /opt/ml lie."""

    def __init__(self, wire: Wire, store: Store, logs: Logs, folder: Path) -> None:
        self.wire, self.store, self.logs, self.folder = wire, store, logs, folder
        self.jobs: dict[str, Job] = {}
        self._threads: list[threading.Thread] = []
        self._image: Path | None = None
        wire.on("SageMaker.CreateTrainingJob", self.create)
        wire.on("SageMaker.DescribeTrainingJob", self.describe)
        wire.on("SageMaker.ListTrainingJobs", self.listed)
        wire.on("SageMaker.StopTrainingJob", self.stop)
        wire.ending(self.end)

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["TrainingJobName"]
        with self.wire.lock:
            if name in self.jobs:
                raise RefusalError(
                    "ResourceInUse", "Training job names must be unique within an AWS account and region"
                )
            self.refuse_unsound(request)
            self.start(Job(request, now()))
        return {"TrainingJobArn": arn("training-job", name)}

    def refuse_unsound(self, request: Mapping[str, Any]) -> None:
        """What SageMaker refuses beyond its model: channels without objects, and waits shorter than runs."""
        for channel in request.get("InputDataConfig", []):
            uri = channel["DataSource"]["S3DataSource"]["S3Uri"]
            if not self.store.keys(uri):
                raise RefusalError("ValidationException", f'No S3 objects found under S3 URL "{uri}" given in input '
                                   "data source. Please ensure that the bucket exists in the selected region "
                                   f"({REGION}), that objects exist under that S3 prefix.")  # fmt: skip
        stopping = request["StoppingCondition"]
        spot, wait = request.get("EnableManagedSpotTraining", False), stopping.get("MaxWaitTimeInSeconds")
        if spot != (wait is not None) or (spot and wait < stopping["MaxRuntimeInSeconds"]):
            raise RefusalError("ValidationException", "Invalid MaxWaitTimeInSeconds. It must be present and be "
                               "greater than or equal to MaxRuntimeInSeconds, with managed spot alone")  # fmt: skip

    def start(self, job: Job) -> threading.Thread:
        """Run a job in a thread of its own."""
        self.jobs[job.name] = job
        job.step("Starting", "Preparing the instances for training")
        thread = threading.Thread(target=self._run, args=(job,), daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        with self.wire.lock:
            return self.described(self.job(request["TrainingJobName"]))

    def described(self, job: Job) -> dict[str, Any]:
        asked = {name: value for name, value in job.request.items() if name != "Tags"}
        found = asked | {
            "TrainingJobArn": arn("training-job", job.name),
            "ModelArtifacts": {"S3ModelArtifacts": job.artifacts},
            "TrainingJobStatus": job.status,
            "SecondaryStatus": job.steps[-1]["Status"],
            "SecondaryStatusTransitions": job.steps,
            "CreationTime": job.created,
            "LastModifiedTime": now(),
            "FinalMetricDataList": list(job.metrics.values()),
        }
        if job.started:
            found |= {"TrainingStartTime": job.started, "TrainingTimeInSeconds": job.seconds}
        if job.ended:
            # What spot would save depends on AWS's market; here every second is billed.
            found |= {"TrainingEndTime": job.ended, "BillableTimeInSeconds": max(1, job.seconds)}
        if job.tuning:
            found["TuningJobArn"] = arn("hyper-parameter-tuning-job", job.tuning)
        return found | ({"FailureReason": job.reason} if job.reason else {})

    def listed(self, request: dict[str, Any]) -> dict[str, Any]:
        with self.wire.lock:
            rows = [
                {"TrainingJobName": job.name, "TrainingJobArn": arn("training-job", job.name),
                 "CreationTime": job.created, "TrainingJobStatus": job.status,
                 "SecondaryStatus": job.steps[-1]["Status"]}
                | ({"TrainingEndTime": job.ended} if job.ended else {})
                for job in sorted(self.jobs.values(), key=lambda job: job.created, reverse=True)
                if request.get("NameContains", "") in job.name
                and request.get("StatusEquals", job.status) == job.status
            ]  # fmt: skip
        return paged(rows, request, "TrainingJobSummaries")

    def stop(self, request: dict[str, Any]) -> dict[str, Any]:
        with self.wire.lock:
            job = self.job(request["TrainingJobName"])
            if job.status in _ENDED:
                raise RefusalError("ValidationException", "The request was rejected because the training job is in "
                                   f"status {job.status}.")  # fmt: skip
            if not job.stopping:
                job.stopping, job.status = True, "Stopping"
                job.step("Stopping", "Stopping the training job")
        return {}

    def interrupt(self, name: str) -> None:
        """Take a spot job's instances away: SIGTERM, SIGKILL, and a new start from its checkpoints."""
        self.job(name).interrupted = True

    def job(self, name: str) -> Job:
        if name not in self.jobs:
            raise RefusalError("ValidationException", "Requested resource not found.")
        return self.jobs[name]

    def end(self) -> None:
        for job in self.jobs.values():
            job.stopping = True
        for thread in self._threads:
            thread.join(3 * GRACE_SECONDS)

    def _run(self, job: Job) -> None:
        try:
            outcome = self._trained(job)
            while outcome == "Interrupted":
                job.interrupted = False
                job.step("Interrupted", "Spot capacity was taken back; waiting for more")
                job.step("Starting", "Preparing the instances for training")
                outcome = self._trained(job)
        except Exception as error:  # a job that the wire itself cannot run is told as such, not waited for
            outcome, job.reason = "Failed", f"InternalServerError: {type(error).__name__}: {error}"[:1024]
        with self.wire.lock:
            job.ended = now()
            job.step(outcome, "Training job " + ("completed" if outcome == "Completed" else outcome.lower()))
            job.status = "Stopped" if outcome == "MaxRuntimeExceeded" else outcome

    def _trained(self, job: Job) -> str:
        """One life of the job's instances; the status that it ends with, Interrupted among them."""
        count = job.request["ResourceConfig"]["InstanceCount"]
        # One machine plays all instances; each is an address of loopback, so that their names resolve.
        hosts = [f"127.0.0.{number + 1}" for number in range(count)]
        job.step("Downloading", "Downloading input data")
        bases = [self._laid_out(job, hosts, number) for number in range(count)]
        job.step("Training", "Training image download completed. Training in progress.")
        job.started = job.started or now()
        outcome = self._watched(job, bases)
        checkpoints = job.request.get("CheckpointConfig")
        if checkpoints:
            self.store.push(bases[0] / "checkpoints", checkpoints["S3Uri"])
        if outcome == "Interrupted":
            return outcome
        job.step("Uploading", "Uploading generated training model")
        # Every host's model folder goes into one archive; here the first host writes it.
        if any((bases[0] / "model").iterdir()):
            self.store.push_packed(bases[0] / "model", job.artifacts)
        output = bases[0] / "output" / "data"
        if output.is_dir() and any(output.iterdir()):
            self.store.push_packed(output, job.artifacts.replace("model.tar.gz", "output.tar.gz"))
        return outcome

    def _laid_out(self, job: Job, hosts: list[str], number: int) -> Path:
        """A host's /opt/ml as SageMaker lays it out."""
        base = self.folder / job.name / f"algo-{number + 1}"
        shutil.rmtree(base, ignore_errors=True)
        for place in ("input/config", "input/data", "model", "output/data", "code", "checkpoints"):
            (base / place).mkdir(parents=True)
        channels = {}
        for channel in job.request.get("InputDataConfig", []):
            source = channel["DataSource"]["S3DataSource"]
            spread = source.get("S3DataDistributionType", "FullyReplicated")
            keys = self.store.keys(source["S3Uri"])
            mine = keys[number :: len(hosts)] if spread == "ShardedByS3Key" else keys
            self.store.pull(source["S3Uri"], base / "input" / "data" / channel["ChannelName"], mine)
            channels[channel["ChannelName"]] = {
                "TrainingInputMode": channel.get("InputMode", "File"), "S3DistributionType": spread,
                "RecordWrapperType": "None",
            }  # fmt: skip
        if "CheckpointConfig" in job.request:
            self.store.pull(job.request["CheckpointConfig"]["S3Uri"], base / "checkpoints")
        kind = job.request["ResourceConfig"]["InstanceType"]
        config = {
            "hyperparameters": job.request.get("HyperParameters", {}),
            "inputdataconfig": channels,
            "resourceconfig": {
                "current_host": hosts[number], "hosts": hosts, "network_interface_name": "lo",
                "current_instance_type": kind, "current_group_name": "homogeneousCluster",
                "instance_groups": [
                    {"instance_group_name": "homogeneousCluster", "instance_type": kind, "hosts": hosts}
                ],
            },
        }  # fmt: skip
        for name, value in config.items():
            (base / "input" / "config" / f"{name}.json").write_text(json.dumps(value))
        return base

    def _watched(self, job: Job, bases: list[Path]) -> str:
        """The toolkit on every host, until all have ended or one has failed or must stop."""
        until = time.monotonic() + job.request["StoppingCondition"]["MaxRuntimeInSeconds"]
        instances = [self._instance(job, base) for base in bases]
        readers = [
            threading.Thread(target=self._read, args=(job, process, f"{job.name}/algo-{number + 1}-1"), daemon=True)
            for number, process in enumerate(instances)
        ]
        for reader in readers:
            reader.start()
        ended = ""
        while not ended and any(process.poll() is None for process in instances):
            failed = any(process.poll() not in (None, 0) for process in instances)
            ended = (
                "Failed" if failed else "Stopped" if job.stopping else "Interrupted" if job.interrupted
                else "MaxRuntimeExceeded" if time.monotonic() > until else ""
            )  # fmt: skip
            time.sleep(0.05)
        _ended(instances)
        for reader in readers:
            reader.join(5)
        codes = [process.returncode for process in instances]
        if ended in ("Stopped", "Interrupted", "MaxRuntimeExceeded"):
            return ended
        if not any(codes):
            return "Completed"
        first = next(number for number, code in enumerate(codes) if code)
        told = bases[first] / "output" / "failure"
        cause = told.read_text() if told.exists() else ""
        job.reason = f"AlgorithmError: {cause}, exit code: {codes[first]}"[:1024]
        return "Failed"

    def _instance(self, job: Job, base: Path) -> subprocess.Popen[str]:
        python = self._python()
        environment = {
            "PATH": f"{python.parent}:{os.environ['PATH']}", "HOME": str(base), "LANG": "C.UTF-8",
            "SAGEMAKER_BASE_DIR": str(base), "TRAINING_JOB_NAME": job.name, "AWS_REGION": REGION,
            "TRAINING_JOB_ARN": arn("training-job", job.name), "PYTHONUNBUFFERED": "1",
            "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "OMP_NUM_THREADS": "1",
            **self.store.environment, **job.request.get("Environment", {}),
        }  # fmt: skip
        (base / "tmp").mkdir()
        return subprocess.Popen(
            [str(python), "-c", _TRAIN], env=environment | {"TMPDIR": str(base / "tmp")}, cwd=base, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def _python(self) -> Path:
        """The image's Python: an environment of its own that sees this one's libraries and not this project.

        What a job brings in its sourcedir.tar.gz is installed there, by the toolkit, and nowhere else.
        """
        with self.wire.lock:
            if self._image is None:
                image = self.folder / "image"
                subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(image)], check=True)
                site = next(image.glob("lib/python*/site-packages"))
                # Paths that .pth files of the other environment name (the project itself) are not followed.
                (site / "image.pth").write_text(sysconfig.get_path("purelib") + "\n")
                self._image = image
        return self._image / "bin" / "python"

    def _read(self, job: Job, process: subprocess.Popen[str], stream: str) -> None:
        """What an instance prints goes to the logs, and through the metrics' expressions."""
        wanted = [
            (one["Name"], re.compile(one["Regex"]))
            for one in job.request["AlgorithmSpecification"].get("MetricDefinitions", [])
        ]
        assert process.stdout
        with process.stdout as lines:
            for line in lines:
                self.logs.add(GROUP, stream, line.rstrip("\n"))
                for name, pattern in wanted:
                    match = pattern.search(line)
                    if match:
                        job.metrics[name] = {"MetricName": name, "Value": float(match[1]), "Timestamp": now()}


def _ended(instances: list[subprocess.Popen[str]]) -> None:
    """Stop what still runs as a container is stopped: SIGTERM to its first process, then the end of all of it."""
    for process in instances:
        if process.poll() is None:
            process.terminate()
    until = time.monotonic() + GRACE_SECONDS
    for process in instances:
        try:
            process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def now() -> datetime:
    return datetime.now(UTC)
