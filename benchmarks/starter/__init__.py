"""Trains the models in ``models/``, which ship with the project and the plugin: ``python -m benchmarks.starter``.

    landuse    EuroSAT RGB with its split files (--eurosat): a scene classifier, and its encoder alone
    landcover  the quickstart's sample (GEOAWARE_SAMPLE or --sample): a map of IGBP classes

Each model is pretrained without labels, fine-tuned, quantised to 8 bits, tested through the exported file in onnxruntime,
and documented: accuracy with interval, licence, and the commands. Finished steps are skipped and interrupted training
resumes with the same command. ``recipes`` defines data and epochs, ``steps`` runs them, ``cards`` writes the cards.
"""
