"""What a SageMaker training job runs: ``binventory train`` on the job's channels."""

from binventory.cloud.container import main

if __name__ == "__main__":
    main()
