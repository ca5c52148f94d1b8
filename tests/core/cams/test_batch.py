"""A batch holds the maps of the labels and of the predictions, which are one where the prediction is right."""

import pytest
import torch
from small_networks import make_dual, random_images

from sigcam_core import SigcamError, cam_maps
from sigcam_core.cams.batch import maps_of_labels_and_predictions, predict
from sigcam_core.cams.maps import MapOptions

OPTIONS = MapOptions(("gradcam", "layercam"), batch_size=2)


@pytest.mark.parametrize("name", ["small_cnn-gap", "small_cnn-mlp"])
def test_maps_of_wrong_predictions_alone_are_made_again(name: str) -> None:
    dual, images = make_dual(name), random_images(4)
    features = dual.extract(images)
    logits, predicted = predict(dual, features, num_classes=5)
    assert torch.equal(logits["sigmoid"], dual(images).sigmoid_logits)
    assert torch.equal(predicted, logits["softmax"].argmax(dim=1))
    labels = predicted.clone()
    labels[[1, 3]] = (predicted[[1, 3]] + 1) % 5
    label_maps, predicted_maps = maps_of_labels_and_predictions(dual, images, features, labels, predicted, OPTIONS)
    for maps, class_idx in ((label_maps, labels), (predicted_maps, predicted)):
        expected = cam_maps(dual, images, class_idx, OPTIONS.methods)
        for row, key in enumerate(OPTIONS.rows):
            torch.testing.assert_close(maps[:, row], expected[key])
    assert not torch.allclose(label_maps[[1, 3]], predicted_maps[[1, 3]])
    same, again = maps_of_labels_and_predictions(dual, images, features, labels, labels, OPTIONS)
    assert same is again


def test_a_network_that_knows_too_few_classes_is_refused() -> None:
    dual = make_dual()
    with pytest.raises(SigcamError, match="the data set has 6 classes, but the network knows 5: choose a network"):
        predict(dual, dual.extract(random_images(2)), num_classes=6)
