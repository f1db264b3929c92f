"""The networks as Paddle layers: tensors in, tensors out. Nothing here reads or writes a file. What needs no
Paddle (`architecture`, `regions`, `style`) does not load it.

The paper: Songhua Liu et al., AdaAttN: Revisit Attention Mechanism in Arbitrary Neural Style Transfer, ICCV 2021,
https://arxiv.org/abs/2108.03647. Where each of its equations is (in `ppadaattn.`):

============== ================================================= =============================================
eq. 1          F^{1:x}, the features of levels 1 to x            model.features.stacked_key
eq. 2          F_cs, content features in the style               model.network.AdaAttNNetwork.embed
eq. 3          I_cs, the stylized image; Table 3                 model.network.Decoder
eq. 4          Q, K, V: convolutions f, g, h                     model.transforms.adaattn.AdaAttN
eq. 5          A by softmax                                      model.attention.SoftmaxState
eqs. 6, 7      M and S, attention-weighted mean and std          model.attention.StyleState.statistics
eq. 8          F_cs = S * Norm(F_c) + M                          model.features.modulate
eq. 9          the weighted sum of the losses                    train.objectives.Stylization
eq. 10         L_gs, global style loss                           train.losses.global_style_loss
eq. 11         L_lf, local feature loss, and AdaAttN*            train.losses.local_feature_loss
eq. 12         A by cosine similarity, for video                 model.attention.CosineState
eq. 13         L_is, image similarity loss, for video            train.losses.image_similarity_loss
section 4.5    several styles: averaged M and S; concatenation   model.style.Style.mix; Style + Style
appendix B.1   regions: each reads its own part of the style     model.attention.RegionState, model.regions
============== ================================================= =============================================

Notation: levels x are VGG-19's relu{x}_1; feature maps are [B, C, H, W]; points are feature maps with flat positions,
[B, C, N], where N = H * W; c stands for content, s for style, cs for stylized.
"""
