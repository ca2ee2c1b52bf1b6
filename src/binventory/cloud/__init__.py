"""SageMaker and S3 by the verbs of home: photos up, jobs there, endpoints, the registry, and what runs inside."""
