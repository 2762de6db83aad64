//! Whole answers, in the Portuguese of Brazilian shops and with the habits of several models.

/// What the model wrote, what WhatsApp gets.
pub const ANSWERS: [(&str, &str); 9] = [
    (
        "Olá, Maria! 😊\n\nTemos sim! Aqui estão os nossos **bolos de hoje**:\n\n* **Cenoura com chocolate** – R$ 45,00\n* **Fubá com goiabada** – R$ 38,00\n* **Red velvet** – R$ 72,00 *(sob encomenda)*\n\nQual você prefere?",
        "Olá, Maria! 😊\n\nTemos sim! Aqui estão os nossos *bolos de hoje*:\n\n- *Cenoura com chocolate* – R$ 45,00\n- *Fubá com goiabada* – R$ 38,00\n- *Red velvet* – R$ 72,00 *(sob encomenda)*\n\nQual você prefere?",
    ),
    (
        "## 🚚 Entrega\n\nEntregamos em **toda a Zona Sul**, de segunda a sábado, das 9h às 18h.\n\n### Taxas\n\n| Bairro | Taxa | Prazo |\n|--------|-----:|:-----:|\n| Moema | R$ 8,00 | 40 min |\n| Saúde | R$ 10,00 | 50 min |\n\n---\n\n> **Obs.:** acima de R$ 120,00 o frete é grátis!\n",
        "*🚚 Entrega*\n\nEntregamos em *toda a Zona Sul*, de segunda a sábado, das 9h às 18h.\n\n*Taxas*\n\nBairro | Taxa | Prazo\nMoema | R$ 8,00 | 40 min\nSaúde | R$ 10,00 | 50 min\n\n> *Obs.:* acima de R$ 120,00 o frete é grátis!",
    ),
    (
        "Para finalizar o pedido:\n\n1. **Escolha o sabor**\n   - Chocolate\n   - Baunilha\n2. **Informe o endereço** (rua, número e CEP)\n3. **Pague via Pix**: chave `11.222.333/0001-44` (CNPJ)\n\nO comprovante pode ser enviado *aqui mesmo* 😉",
        "Para finalizar o pedido:\n\n1. *Escolha o sabor*\n   - Chocolate\n   - Baunilha\n2. *Informe o endereço* (rua, número e CEP)\n3. *Pague via Pix*: chave `11.222.333/0001-44` (CNPJ)\n\nO comprovante pode ser enviado *aqui mesmo* 😉",
    ),
    (
        "Claro! O link de pagamento é [clique aqui para pagar](https://pag.ae/7_abc_d?x=1&y=2).\nSe preferir, nosso site é [www.padariasol.com.br](https://www.padariasol.com.br/) e o e-mail [contato@padariasol.com.br](mailto:contato@padariasol.com.br).",
        "Claro! O link de pagamento é clique aqui para pagar: https://pag.ae/7_abc_d?x=1&y=2.\nSe preferir, nosso site é www.padariasol.com.br e o e-mail contato@padariasol.com.br.",
    ),
    (
        "Seu orçamento:\n\n**Itens**\n1. Tinta acrílica 18L — 2 x R$ 289,90 = R$ 579,80\n2. Rolo 23cm — 1 x R$ 24,50\n\n**Subtotal:** R$ 604,30\n**Desconto (5%):** -R$ 30,22\n**Total:** ~~R$ 604,30~~ **R$ 574,08**\n\nPosso confirmar?",
        "Seu orçamento:\n\n*Itens*\n1. Tinta acrílica 18L — 2 x R$ 289,90 = R$ 579,80\n2. Rolo 23cm — 1 x R$ 24,50\n\n*Subtotal:* R$ 604,30\n*Desconto (5%):* -R$ 30,22\n*Total:* ~R$ 604,30~ *R$ 574,08*\n\nPosso confirmar?",
    ),
    (
        "Copie o código Pix abaixo:\n\n```\n00020126580014BR.GOV.BCB.PIX0136a1b2_c3d4*e5\n```\n\nEle vale por **30 minutos** ⏳",
        "Copie o código Pix abaixo:\n\n```00020126580014BR.GOV.BCB.PIX0136a1b2_c3d4*e5```\n\nEle vale por *30 minutos* ⏳",
    ),
    (
        "*Horário de funcionamento*\nSeg–sex: 8h–19h\nSáb: 8h–13h\n\n*Endereço*\nRua das Flores, 123 – Centro\n📍 https://maps.app.goo.gl/AbC_dEf_123",
        "*Horário de funcionamento*\nSeg–sex: 8h–19h\nSáb: 8h–13h\n\n*Endereço*\nRua das Flores, 123 – Centro\n📍 https://maps.app.goo.gl/AbC_dEf_123",
    ),
    (
        "Oi! Tudo bem? 👋<br><br>Sim, fazemos **consultas às quartas &amp; sextas**.\r\n\r\n\r\nPara agendar, preciso de:\r\n- Nome completo\r\n- Data de nascimento (DD/MM/AAAA)\r\n- Convênio *ou* particular\r\n",
        "Oi! Tudo bem? 👋\n\nSim, fazemos *consultas às quartas & sextas*.\n\nPara agendar, preciso de:\n- Nome completo\n- Data de nascimento (DD/MM/AAAA)\n- Convênio *ou* particular",
    ),
    (
        "1. **Corte feminino**\n\n   R$ 90,00 (inclui lavagem)\n\n2. **Escova**\n\n   A partir de R$ 50,00\n\n3. **Coloração**\n\n   Sob avaliação\n\n***Promoção:*** corte + escova por **R$ 120,00**\\*\n\n\\*Válido até 31/10.",
        "1. *Corte feminino*\n\n   R$ 90,00 (inclui lavagem)\n\n2. *Escova*\n\n   A partir de R$ 50,00\n\n3. *Coloração*\n\n   Sob avaliação\n\n_*Promoção:*_ corte + escova por *R$ 120,00**\n\n*Válido até 31/10.",
    ),
];

/// Text that needs nothing done, though much in it could be taken for Markdown.
pub const PLAIN: [&str; 34] = [
    "5 * 3 * 2 = 30 e 5*3*2 também",
    "tamanho 10*20*30 cm\ne 5*3\nou 4*2",
    "R$ 10,00 - 20% = R$ 8,00",
    "- 20% no Pix",
    "snake_case_name e outro_nome_aqui",
    "1) opção\n2) outra opção",
    "10. item",
    "2025. Foi um bom ano.",
    "#1 em vendas, #promo #natal",
    "a < b e c > d, 2 <= 3",
    "Eu <3 bolo",
    ">18 anos",
    "_já em itálico_ e *já em negrito* e ~já riscado~",
    "*Atenção:* fechado na _segunda_ (~sexta~)",
    "+55 11 99999-0001",
    "(11) 4002-8922 | (11) 99999-0001",
    "R$ 100\n+ R$ 10 de frete\n= R$ 110",
    "Total: R$ 110\n\n+ frete",
    "de 10~20 min, ou 30~40 min",
    "~10 min a pé, ~5 min de carro",
    "CPF ***.456.789-** e cartão ****1234",
    "**** **** **** 1234",
    "Data: __/__/____  Nome: ____",
    "R$ 10* no débito, R$ 12* no crédito",
    "Oi 😀👩‍🍳🇧🇷 tudo bem?",
    "Kkkk :) ;-) \\o/ ^_^ (*-*)",
    "user_name@sol_doce.com.br",
    "https://sol.com/a_b_c?x=1&y=_2_&z=~t",
    "Café & Cia, P&B; 50% off!",
    "Linha um\nLinha dois\n\nLinha três",
    "[1] Bolo [2] Torta [x] feito",
    "Às 10:30 | 11:00 | 12:00",
    "\"Aspas\" e 'aspas' e … e — travessão -- duplo",
    "É 1/2 kg (500g); 2 x R$ 5 = R$ 10.",
];
