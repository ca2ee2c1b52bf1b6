"""A small SageMaker on loopback: boto3's own requests, held against botocore's model, and really run.

``server`` speaks the wire (JSON 1.1, refusals, planned faults), ``training`` runs training jobs by the real toolkit,
``tuning`` runs trials of them, ``logs`` answers for CloudWatch. A part adds its operations to a ``Wire``.
"""
