"""Makes the models of ``models/``, which come with the project and with the plugin: ``python -m benchmarks.starter``.

    landuse    EuroSAT RGB with its split files (--eurosat): a classifier of scenes, and its encoder alone
    landcover  the quickstart's sample (GEOAWARE_SAMPLE or --sample): a map of IGBP classes

Each is pretrained without labels, fine-tuned, exported in 8-bit integers, measured on its test side through the exported
file in onnxruntime, and described: accuracy with interval, licence, and the commands that made it. What is done is
skipped, a training that was cut off goes on: after a kill, give the same command. ``recipes`` says what is learned and for
how long, ``steps`` runs it, ``cards`` describes it.
"""
